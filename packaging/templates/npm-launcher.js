#!/usr/bin/env node
// Starts the program of the optional dependency for this platform, with the same arguments, streams and environment.
"use strict";

const { name, programs } = require("../package.json");

function find() {
  const platform = `${process.platform}-${process.arch}`;
  const program = programs[platform];
  if (!program) {
    fail(`there is no program for ${platform}`, `it exists for ${Object.keys(programs).join(", ")}`);
  }
  try {
    return require.resolve(program);
  } catch {
    const dependency = program.split("/bin/")[0];
    fail(`the package ${dependency} is not installed`, `install ${name} again on this machine, without --omit=optional`);
  }
}

function fail(message, hint) {
  process.stderr.write(`error: ${message}\n\nhint: ${hint}\n`);
  process.exit(1);
}

// Puts the program in the place of this process. Node.js has this from 22.15 and 23.11 on, except on Windows.
function replace(program, args) {
  if (process.platform === "win32" || typeof process.execve !== "function") {
    return;
  }
  process.execve(program, [program, ...args], process.env);
}

// Runs the program beside this process. It has our own stdin, so it sees the end of input itself.
function spawn(program, args) {
  const child = require("node:child_process").spawn(program, args, { stdio: "inherit", windowsHide: true });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"]) {
    if (signal === "SIGBREAK" && process.platform !== "win32") {
      continue;
    }
    process.on(signal, () => child.kill(signal));
  }
  child.on("error", (error) => fail(`${program} cannot be started: ${error.message}`, `install ${name} again`));
  child.on("exit", (code, signal) => {
    if (signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else {
      process.exit(code);
    }
  });
}

const program = find();
const args = process.argv.slice(2);
replace(program, args);
spawn(program, args);
