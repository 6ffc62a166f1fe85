"""Launcher of the program that this package installs as a script, for `python -m` and for the command with the package's name."""
import os
import subprocess
import sys
import sysconfig


def find_program():
    """The program's path: scripts of the environment, of the user, or of `pip install --target`."""
    name = "@program@" + (sysconfig.get_config_var("EXE") or "")
    user_scheme = sysconfig.get_preferred_scheme("user") if sys.version_info >= (3, 10) else os.name + "_user"
    directories = [
        sysconfig.get_path("scripts"),
        sysconfig.get_path("scripts", user_scheme),
        os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bin"),
    ]
    for directory in directories:
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            return path
    sys.exit("error: {} is in none of {}\n\nhint: install the package again".format(name, ", ".join(directories)))


def main():
    command = [find_program(), *sys.argv[1:]]
    if os.name != "nt":
        os.execv(command[0], command)
    with subprocess.Popen(command) as process:
        while True:
            try:
                sys.exit(process.wait())
            except KeyboardInterrupt:
                # The console sends it to the program as well, which ends in its own way.
                pass
