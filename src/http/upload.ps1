# Packs what ESP-IDF, PlatformIO, ESPHome or Arduino built and uploads it to espgate.
#
#   $env:ESPGATE_TOKEN = 'eg1_...'; .\upload.ps1 [model] [firmware.bin]
#
# Run it in the project's folder, after the build. The model is the ESP-IDF project's
# name (`-` becomes `_`) unless given; the .elf and .map are those beside the .bin.
# ESPGATE_URL overrides the gateway's address, ESPGATE_BUILD_DIR the folder `build`.
# ESPGATE_VERSION is the version of an image that has none of its own (Arduino).
#
# For Windows PowerShell 5.1 and PowerShell 7. The upload is done by curl, which comes
# with Windows: it can be told to trust the gateway's own CA, carried below, and nothing
# has to be added to the certificate store of Windows.
param([string]$Model = '', [string]$Firmware = '')
$ErrorActionPreference = 'Stop'

$defaultUrl = '@URL@'
$ca = @'
@CA@
'@

function Stop-Upload([string]$Why) {
    [Console]::Error.WriteLine("upload: $Why")
    exit 1
}

function Find-File([string[]]$Candidates) {
    foreach ($candidate in $Candidates) {
        if ($candidate -and (Test-Path -LiteralPath $candidate -PathType Leaf)) {
            return (Resolve-Path -LiteralPath $candidate).ProviderPath
        }
    }
    return $null
}

# Text from a fixed place of the .bin, up to its first NUL.
function Read-ImageText([string]$Path, [int]$Offset) {
    $stream = [IO.File]::OpenRead($Path)
    try {
        $field = New-Object byte[] 32
        [void]$stream.Seek($Offset, 'Begin')
        $count = $stream.Read($field, 0, 32)
        return [Text.Encoding]::UTF8.GetString($field, 0, $count).Split([char]0)[0]
    } finally {
        $stream.Dispose()
    }
}

$curl = Get-Command 'curl.exe', 'curl' -CommandType Application -ErrorAction SilentlyContinue |
    Select-Object -First 1
if (-not $curl) { Stop-Upload 'curl is not installed' }
$url = if ($env:ESPGATE_URL) { $env:ESPGATE_URL } else { $defaultUrl }
$url = $url.TrimEnd('/')
$token = $env:ESPGATE_TOKEN
if (-not $token) {
    Stop-Upload 'ESPGATE_TOKEN is not set; make one with: espgate tokens add NAME --role pipeline'
}
if ($token -notmatch '^[A-Za-z0-9_.~+/=-]+$') {
    Stop-Upload 'ESPGATE_TOKEN has characters that no token has'
}

$build = if ($env:ESPGATE_BUILD_DIR) { $env:ESPGATE_BUILD_DIR } else { 'build' }
$descriptionPath = Join-Path $build 'project_description.json'
$description = $null
$isProject = -not $Firmware -and (Test-Path -LiteralPath $descriptionPath)
if (Test-Path -LiteralPath $descriptionPath) {
    $description = Get-Content -LiteralPath $descriptionPath -Raw -Encoding UTF8 | ConvertFrom-Json
} elseif (-not $Firmware) {
    # the only .bin that PlatformIO, ESPHome or the Arduino IDE left
    $patterns = '.pio/build/*/firmware.bin', '.pioenvs/*/firmware.bin', '*.ino.bin', (Join-Path $build '*/*.ino.bin')
    $built = @(Get-ChildItem -Path $patterns -File -ErrorAction SilentlyContinue)
    if ($built.Count -eq 0) {
        Stop-Upload "$descriptionPath not found: run this in the project's folder after the build, or give a model and a .bin"
    }
    if ($built.Count -gt 1) {
        Stop-Upload "more than one build found: $($built.FullName -join ', '); give a model and one of them"
    }
    if (-not $Model) { Stop-Upload "found $($built[0].FullName); give its model as well: .\upload.ps1 MODEL" }
    $Firmware = $built[0].FullName
}
if (-not $Model) { $Model = $description.project_name }
$Model = "$Model".ToLowerInvariant().Replace('-', '_')
if ($Model -cnotmatch '^[a-z0-9_]+$') {
    Stop-Upload "'$Model' cannot be a model: a-z, 0-9 and _ only"
}
if (-not $Firmware) { $Firmware = Join-Path $build $description.app_bin }
$bin = Find-File $Firmware
if (-not $bin) { Stop-Upload "$Firmware not found" }
$beside = Split-Path -Parent $bin
$stem = Join-Path $beside ([IO.Path]::GetFileNameWithoutExtension($bin))
$elf = Find-File "$stem.elf"
if (-not $elf -and $description) { $elf = Find-File (Join-Path $build $description.app_elf) }
if (-not $elf) { Stop-Upload "$stem.elf not found" }
$map = Find-File "$stem.map", ([IO.Path]::ChangeExtension($elf, '.map'))
$configured = if ($description) { $description.config_file } else { $null }
$parent = Split-Path -Parent $beside
$besideParent = if ($parent) { Join-Path $parent 'sdkconfig' } else { $null }
$environment = "sdkconfig.$(Split-Path -Leaf $beside)"
$sdkconfig = Find-File $configured, (Join-Path $beside "../../../$environment"), $besideParent, (Join-Path $beside 'sdkconfig'), $environment, 'sdkconfig'

$isPartial = -not $map -or -not $sdkconfig
# only ESP-IDF always makes both
if ($isPartial -and $isProject) {
    if (-not $map) { Stop-Upload "$stem.map not found" }
    Stop-Upload 'sdkconfig not found'
}

$commit = 'unknown'
if (Get-Command git -CommandType Application -ErrorAction SilentlyContinue) {
    $ErrorActionPreference = 'Continue'
    $found = git -C $beside rev-parse HEAD 2>$null
    if ($LASTEXITCODE -eq 0 -and $found) { $commit = "$found" }
    $ErrorActionPreference = 'Stop'
}
$version = if ($description) { $description.project_version } else { $null }
if (-not $version) { $version = Read-ImageText $bin 48 }
$query = ''
if ($env:ESPGATE_VERSION) {
    if ($env:ESPGATE_VERSION -cnotmatch '^[A-Za-z0-9._+-]+$') {
        Stop-Upload 'ESPGATE_VERSION may have A-Z a-z 0-9 . _ + - only'
    }
    $version = $env:ESPGATE_VERSION
    $query = "?version=$version"
}
$idfVersion = if ($description) { $description.git_revision } else { $null }
if (-not $idfVersion) { $idfVersion = Read-ImageText $bin 144 }

$work = Join-Path ([IO.Path]::GetTempPath()) ('espgate-' + [Guid]::NewGuid().ToString('N'))
$status = ''
$answer = ''
try {
    $bundle = Join-Path $work 'bundle'
    [void](New-Item -ItemType Directory -Path $bundle)
    [Console]::Error.WriteLine("packing $Model $version")
    Copy-Item -LiteralPath $bin -Destination (Join-Path $bundle "$Model.bin")
    Copy-Item -LiteralPath $elf -Destination (Join-Path $bundle "$Model.elf")
    $names = @("$Model.bin", "$Model.elf", 'version.json')
    $manifest = [ordered]@{
        git_commit = $commit; idf_version = "$idfVersion"; firmware_version = "$version"
    }
    if ($map) {
        Copy-Item -LiteralPath $map -Destination (Join-Path $bundle "$Model.map")
        $names += "$Model.map"
    }
    if ($sdkconfig) {
        Copy-Item -LiteralPath $sdkconfig -Destination (Join-Path $bundle 'sdkconfig')
        $names += 'sdkconfig'
    }
    if ($isPartial) { $manifest.partial = $true }
    $manifest = $manifest | ConvertTo-Json
    [IO.File]::WriteAllText((Join-Path $bundle 'version.json'), $manifest)
    $zip = Join-Path $work 'bundle.zip'
    $paths = $names | ForEach-Object { Join-Path $bundle $_ }
    Compress-Archive -LiteralPath $paths -DestinationPath $zip

    # the token goes into a file, not into the list of processes
    $settings = @("header = `"Authorization: Bearer $token`"", 'header = "Content-Type: application/zip"')
    if ($ca -match 'BEGIN CERTIFICATE') {
        $caFile = Join-Path $work 'ca.pem'
        [IO.File]::WriteAllText($caFile, $ca + "`n")
        $settings += 'cacert = "' + $caFile.Replace('\', '\\') + '"'
        # the gateway's CA publishes no revocation list, which Schannel would wait for
        $settings += 'ssl-no-revoke'
    }
    $settings += 'progress-bar'
    $settingsFile = Join-Path $work 'curl.conf'
    [IO.File]::WriteAllLines($settingsFile, [string[]]$settings)
    $answerFile = Join-Path $work 'answer'

    [Console]::Error.WriteLine("uploading to $url")
    $status = & $curl.Source --config $settingsFile --request POST --upload-file $zip `
        --connect-timeout 15 --output $answerFile --write-out '%{http_code}' `
        "$url/api/pipeline/models/$Model/firmware$query"
    if ($LASTEXITCODE -ne 0) { Stop-Upload "could not upload to $url" }
    if (Test-Path -LiteralPath $answerFile) { $answer = [IO.File]::ReadAllText($answerFile) }
} finally {
    Remove-Item -LiteralPath $work -Recurse -Force -ErrorAction SilentlyContinue
}
Write-Output $answer
if ("$status" -ne '200') { Stop-Upload "refused with HTTP status $status" }
foreach ($warning in @(($answer | ConvertFrom-Json).warnings)) {
    if ($warning) { [Console]::Error.WriteLine("warning: $warning") }
}
