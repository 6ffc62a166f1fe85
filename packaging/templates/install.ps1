# Installs @program@ @version@ for the current user:
#
#     irm @download@/install.ps1 | iex
#
# MCP_BRIDGE_INSTALL_DIR is where the program goes, %LOCALAPPDATA%\Programs\@program@ by default. MCP_BRIDGE_DOWNLOAD is where the
# archive comes from, for mirrors. The archive has to have the checksum that is written below.
& {
  $ErrorActionPreference = 'Stop'
  $ProgressPreference = 'SilentlyContinue'

  $targets = @{
@targets@
  }
  $directory = $env:MCP_BRIDGE_INSTALL_DIR
  if (-not $directory) { $directory = Join-Path $env:LOCALAPPDATA 'Programs\@program@' }
  $download = $env:MCP_BRIDGE_DOWNLOAD
  if (-not $download) { $download = '@download@' }

  # A 32-bit PowerShell sees x86, and the true architecture in PROCESSOR_ARCHITEW6432.
  $machine = $env:PROCESSOR_ARCHITEW6432
  if (-not $machine) { $machine = $env:PROCESSOR_ARCHITECTURE }
  if (-not $targets.ContainsKey($machine)) { throw "there is no program for $machine" }
  $target, $sum = $targets[$machine]
  $name = "@program@-@version@-$target"

  $scratch = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
  New-Item -ItemType Directory -Path $scratch | Out-Null
  try {
    $archive = Join-Path $scratch 'archive.zip'
    [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
    Invoke-WebRequest -UseBasicParsing -Uri "$download/$name.zip" -OutFile $archive
    $found = (Get-FileHash -Algorithm SHA256 -Path $archive).Hash
    if ($found -ne $sum) { throw "$name.zip has the wrong checksum: $found instead of $sum; nothing was installed" }

    Expand-Archive -Path $archive -DestinationPath $scratch
    New-Item -ItemType Directory -Force -Path $directory | Out-Null
    $program = Join-Path $directory '@program@.exe'
    # A program that is running cannot be overwritten, but renamed.
    $old = "$program.old"
    if (Test-Path $old) { Remove-Item -Force $old -ErrorAction SilentlyContinue }
    if ((Test-Path $program) -and -not (Test-Path $old)) { Move-Item -Path $program -Destination $old }
    Move-Item -Force -Path (Join-Path $scratch "$name\@program@.exe") -Destination $program
    Remove-Item -Force $old -ErrorAction SilentlyContinue
  } finally {
    Remove-Item -Recurse -Force $scratch
  }

  Write-Output "$program is installed ($(& $program --version))"
  $path = [Environment]::GetEnvironmentVariable('Path', 'User')
  if (($path -split ';') -notcontains $directory) {
    [Environment]::SetEnvironmentVariable('Path', "$path;$directory".TrimStart(';'), 'User')
    $env:Path = "$env:Path;$directory"
    Write-Output "$directory was added to PATH; apps see it after they are started anew"
  }
}
