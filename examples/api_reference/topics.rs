//! What is said of every route, by topic.

use super::bodies;
use super::entry::Entry;

/// Routes about one thing, and the types that they carry.
pub(crate) struct Topic {
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    pub(crate) entries: fn() -> Vec<Entry>,
    /// The file of the topic's types.
    pub(crate) source: &'static str,
    /// Files with some more of them, by name.
    pub(crate) others: &'static [(&'static str, &'static [&'static str])],
}

/// The page's order.
pub(crate) const TOPICS: &[Topic] = &[
    Topic {
        title: "Coredumps",
        about: "Devices upload coredumps; people list them and read their reports. Fields of a \
                report: [report.md](report.md).",
        entries: coredumps,
        source: include_str!("../../src/api/coredumps.rs"),
        others: &[(
            include_str!("../../src/store/coredumps/sidecar.rs"),
            &["Sidecar", "Sighting", "Source", "DecodeState", "Decoding"],
        )],
    },
    Topic {
        title: "Crashes",
        about: "A crash group is one bug of a model, on any device and in any build. What belongs \
                together: [signatures.md](signatures.md).",
        entries: crashes,
        source: include_str!("../../src/api/crashes.rs"),
        others: &[
            (include_str!("../../src/store/crashes/group.rs"), &["State"]),
            (
                include_str!("../../src/signature/outcome.rs"),
                &[
                    "Signature",
                    "Quality",
                    "Explanation",
                    "FrameVerdict",
                    "Verdict",
                ],
            ),
        ],
    },
    Topic {
        title: "Firmware",
        about: "The build machine uploads builds, people choose the active one, devices download it. A \
                build is addressed by its version (the newest upload of it), its name, or 8 and \
                more digits of its id.",
        entries: firmware,
        source: include_str!("../../src/api/firmware.rs"),
        others: &[(include_str!("../../src/store/firmware/build.rs"), &["Kind"])],
    },
    Topic {
        title: "Builds",
        about: "What is known of each stored image: who runs it, for how long, and what crashed with it \
                ([operations.md](operations.md#devices-and-builds)).",
        entries: builds,
        source: include_str!("../../src/api/builds.rs"),
        others: &[],
    },
    Topic {
        title: "Rollouts",
        about: "A build goes to the devices of a model in waves, and is taken back by itself \
                ([rollouts.md](rollouts.md)).",
        entries: rollouts,
        source: include_str!("../../src/api/rollouts.rs"),
        others: &[],
    },
    Topic {
        title: "Models",
        about: "A model is a product line.",
        entries: models,
        source: include_str!("../../src/api/models.rs"),
        others: &[(
            include_str!("../../src/store/registry/models.rs"),
            &["Activate"],
        )],
    },
    Topic {
        title: "Devices",
        about: "A device is one board.",
        entries: devices,
        source: include_str!("../../src/api/devices.rs"),
        others: &[],
    },
    Topic {
        title: "Tokens",
        about: "Tokens of CI, people and whole fleets. A token is shown once, when it is created.",
        entries: tokens,
        source: include_str!("../../src/api/tokens.rs"),
        others: &[(
            include_str!("../../src/store/registry/tokens.rs"),
            &["Role"],
        )],
    },
    Topic {
        title: "Serial ports",
        about: "`{name}` is the port's `name`, its place or its path, with `/` as `%2F`.",
        entries: ports,
        source: include_str!("../../src/api/ports.rs"),
        others: &[],
    },
    Topic {
        title: "The server's certificate",
        about: "What devices and people see when they connect over HTTPS.",
        entries: tls,
        source: include_str!("../../src/api/tls.rs"),
        others: &[],
    },
    Topic {
        title: "The gateway",
        about: "Status, metrics and backup.",
        entries: gateway,
        source: include_str!("../../src/api/status.rs"),
        others: &[(
            include_str!("../../src/store/last_shutdown.rs"),
            &["ShutdownCause"],
        )],
    },
];

const NO_COREDUMP: &[(u16, &str)] = &[(404, "for an unknown id")];
const NO_MODEL: &[(u16, &str)] = &[(404, "for an unregistered model")];
const NO_BUILD: &[(u16, &str)] = &[
    (400, "if the digits match several builds"),
    (404, "for an unknown model or build"),
];
const NO_DEVICE: &[(u16, &str)] = &[(404, "for an unknown device")];
const NO_PORT: &[(u16, &str)] = &[(404, "for an unknown port")];
/// On every request of a device.
const REPORTS: (&str, &str) = (
    "running, boot_count, uptime_s, reset_reason, hw",
    "what the device says of itself; `running`: digits of the hash of its ELF or of its build id, or \
     its version",
);

const KEY: (&str, &str) = (
    "device_key",
    "the board; required with a fleet token, and with `[auth] devices = \"open\"`",
);

fn crashes() -> Vec<Entry> {
    const NO_GROUP: &[(u16, &str)] = &[(404, "for an unknown id")];
    vec![
        Entry::new(
            "GET /api/crashes",
            "Lists crash groups: regressed and new ones first, then by devices and last seen; \
             resolved and ignored ones last.",
        )
        .query(&[
            ("model", "of this model only"),
            ("state", "in these states only, separated by commas"),
            ("since", "seen since this time (RFC 3339)"),
            (
                "build",
                "seen in this build: a version, or 8 and more digits of its id",
            ),
            ("device", "seen on this device key"),
            ("limit", "1 to 1000, default 100"),
            ("cursor", "`next_cursor` of the previous page"),
        ])
        .answers("List", bodies::crashes())
        .errors(&[(400, "for an invalid parameter")]),
        Entry::new(
            "GET /api/crashes/{id}",
            "Shows a group. One that was merged answers 301 with `Location` and a `Moved` body.",
        )
        .answers("Detail", bodies::crash())
        .errors(NO_GROUP),
        Entry::new(
            "PUT /api/crashes/{id}",
            "Changes state and note of a group.",
        )
        .takes("Change", bodies::crash_change())
        .answers("Detail", bodies::crash())
        .errors(&[
            (400, "for an invalid state, period or build"),
            (404, "for an unknown id"),
        ]),
        Entry::new(
            "POST /api/crashes/{id}/merge",
            "Merges a group into another one of its model, for future dumps, too.",
        )
        .takes("Merge", bodies::crash_merge())
        .answers("Detail", bodies::crash())
        .errors(&[
            (404, "for an unknown id"),
            (
                409,
                "for groups of different models, or one that is merged already",
            ),
        ]),
        Entry::new(
            "POST /api/crashes/recompute",
            "Makes the signatures of all stored reports anew, and says what that changes.",
        )
        .takes("Recompute", bodies::recompute())
        .answers("Recomputed", bodies::recomputed()),
        Entry::new(
            "GET /api/coredumps/{id}/signature",
            "How the signature of a dump comes about: each frame, and what decided about it.",
        )
        .answers("Explained", bodies::explained())
        .errors(&[(404, "for an unknown id, or a dump without report")]),
        Entry::new(
            "POST /api/crashes/{id}/split",
            "Makes a new group of the dumps that are like one of a group: with its signature, if \
             the group has several, else with its stack. Answers the new group.",
        )
        .takes("Split", bodies::crash_split())
        .answers("Detail", bodies::crash())
        .errors(&[
            (404, "for an unknown id"),
            (
                409,
                "if the dump is not in the group, or all of it is alike",
            ),
        ]),
    ]
}

fn coredumps() -> Vec<Entry> {
    vec![
        Entry::new(
            "POST /api/iot/coredump",
            "A device hands in a coredump. The answer comes when it is on the disk. It is stored \
             whatever it is, since devices erase their copy after one attempt.",
        )
        .query(&[
            ("chip", "required, such as `esp32s3`"),
            ("firmware_version", "needed"),
            KEY,
            (
                "app_elf_sha256, reset_reason, uptime_s, boot_count, mac",
                "kept in the sidecar",
            ),
            REPORTS,
        ])
        .takes_words(
            "the dump as it is, `application/octet-stream`: from the flash partition, a core ELF, \
             or base64 text",
        )
        .status(201)
        .answers("Stored", bodies::stored())
        .errors(&[
            (400, "for a missing parameter, an empty body, or a too large one (its first part is stored)"),
            (404, "for an unregistered board (open mode)"),
            (507, "if the disk is full or read-only"),
        ]),
        Entry::new("GET /api/coredumps", "Lists stored coredumps, newest first.")
            .query(&[
                ("device", "of this device key only"),
                ("model", "of this model only"),
                ("crash", "of this crash group only"),
                ("since", "uploaded since this time (RFC 3339)"),
                ("limit", "1 to 1000, default 100"),
                ("cursor", "`next_cursor` of the previous page"),
            ])
            .answers("List", bodies::coredumps())
            .errors(&[(400, "for an invalid parameter")]),
        Entry::new("GET /api/coredumps/{id}", "Shows one coredump.")
            .answers("Coredump", bodies::coredump())
            .errors(NO_COREDUMP),
        Entry::new(
            "GET /api/coredumps/{id}/report",
            "The decoded report, as JSON or, with `Accept: text/plain`, as text.",
        )
        .answers_words("the report ([report.md](report.md))")
        .errors(&[(404, "for an unknown id; with a `NoReport` body while there is no report")]),
        Entry::new("GET /api/coredumps/{id}/dump", "The dump as received.")
            .answers_words("`application/octet-stream`")
            .errors(NO_COREDUMP),
        Entry::new(
            "GET /api/coredumps/{id}/log",
            "Console lines before and after the crash (USB only).",
        )
        .answers_words("`text/plain`")
        .errors(&[(404, "for an unknown id, or a dump without console lines")]),
        Entry::new(
            "GET /api/coredumps/{id}/export",
            "A ZIP with dump, report, console lines and firmware files.",
        )
        .answers_words("`application/zip`")
        .errors(NO_COREDUMP),
        Entry::new(
            "DELETE /api/coredumps/{id}",
            "Deletes a coredump with its report and console lines.",
        )
        .status(204)
        .errors(NO_COREDUMP),
        Entry::new("POST /api/coredumps/{id}/redecode", "Decodes a coredump again.")
            .status(202)
            .answers("Queued", bodies::queued(1))
            .errors(NO_COREDUMP),
        Entry::new("POST /api/coredumps/redecode", "Decodes all coredumps again.")
            .status(202)
            .answers("Queued", bodies::queued(42)),
    ]
}

fn firmware() -> Vec<Entry> {
    const VERSION: (&str, &str) = ("version", "another version than the device's");
    const NOT_SERVED: &[(u16, &str)] = &[
        (304, "if `If-None-Match` names the build"),
        (404, "if there is no firmware for the device"),
        (416, "for a range outside the file"),
    ];
    vec![
        Entry::new(
            "GET /api/iot/firmware",
            "A device fetches its image: its pinned build, else its model's active one. `HEAD` \
             works too. One `Range` gives 206; a device in the middle of a sequence of ranges \
             keeps the build it began with.",
        )
        .query(&[KEY, VERSION, REPORTS])
        .answers_words("the .bin, `application/octet-stream`, with `ETag` and `Content-Length`")
        .errors(NOT_SERVED),
        Entry::new(
            "GET /api/iot/firmware.zip",
            "The same for the bundle, as uploaded.",
        )
        .query(&[KEY, VERSION, REPORTS])
        .answers_words("`application/zip`")
        .errors(NOT_SERVED),
        Entry::new(
            "GET /api/iot/firmware-version",
            "The version that the device would get.",
        )
        .query(&[KEY, REPORTS])
        .answers("Offered", bodies::offered()),
        Entry::new(
            "GET /api/iot/manifest.json",
            "The same for ESPHome's `http_request` update.",
        )
        .query(&[KEY, REPORTS])
        .answers("Manifest", bodies::manifest())
        .errors(&[(404, "if the device gets nothing")]),
        Entry::new(
            "POST /api/pipeline/models/{code}/firmware",
            "Takes in a build. It becomes active, unless the model says `manual`; with \
             `rollout` it starts a rollout, which a warning names. \
             `Expect: 100-continue` works.",
        )
        .takes_words(
            "a bundle (ZIP) or a .bin, as the body or as the field `file` of \
             `multipart/form-data`",
        )
        .query(&[(
            "version",
            "for an image that has no version of its own, or only its library's",
        )])
        .answers("Uploaded", bodies::uploaded())
        .errors(&[
            (400, "with the error in the bundle"),
            (404, "for an unregistered model"),
            (413, "if the body is too large"),
            (507, "if the disk is full or read-only"),
        ]),
        Entry::new(
            "GET /api/pipeline/models/{code}/firmware-version",
            "The active version.",
        )
        .answers("Version", bodies::version_of_model())
        .errors(NO_MODEL),
        Entry::new(
            "GET /api/pipeline/upload.sh",
            "A script that packs an ESP-IDF build folder and uploads it; this gateway's address \
             and CA are in it.",
        )
        .answers_words("`text/x-shellscript`"),
        Entry::new("GET /api/pipeline/upload.ps1", "The same for PowerShell.")
            .answers_words("`text/plain`"),
        Entry::new(
            "GET /api/models/{code}/firmware",
            "Lists a model's builds, newest first.",
        )
        .answers("List", bodies::firmware())
        .errors(NO_MODEL),
        Entry::new(
            "PUT /api/models/{code}/active",
            "Activates a build.",
        )
        .takes("Named", bodies::named())
        .answers("Activated", bodies::activated())
        .errors(&[
            (404, "for an unknown model or build"),
            (409, "for a blocked build, or while a rollout is running"),
        ]),
        Entry::new(
            "POST /api/models/{code}/rollback",
            "Activates the previously active build.",
        )
        .answers("Activated", bodies::rolled_back())
        .errors(&[
            (404, "for an unregistered model"),
            (409, "if there is no previous build, or while a rollout is running"),
        ]),
        Entry::new(
            "PUT /api/models/{code}/blocked/{version}",
            "Blocks a build: it is no longer served.",
        )
        .takes("Reason", bodies::block_reason())
        .answers("Blocked", bodies::blocked())
        .errors(NO_BUILD),
        Entry::new(
            "DELETE /api/models/{code}/blocked/{version}",
            "Unblocks a build.",
        )
        .status(204)
        .errors(NO_BUILD),
        Entry::new(
            "GET /api/models/{code}/firmware/{version}",
            "The build's file: `{version}` is what it is addressed by, with `.zip` (the bundle as it was \
             uploaded) or `.bin` behind it.",
        )
        .answers_words("the file")
        .errors(NO_BUILD),
        Entry::new(
            "DELETE /api/models/{code}/firmware/{version}",
            "Deletes a build.",
        )
        .status(204)
        .errors(&[
            (400, "if the digits match several builds"),
            (404, "for an unknown model or build"),
            (409, "if the build is active, pinned, or needed by a rollout"),
        ]),
        Entry::new(
            "DELETE /api/models/{code}/firmware",
            "Deletes all builds of a model, including the active one.",
        )
        .answers("Deleted", bodies::deleted())
        .errors(&[
            (404, "for an unregistered model"),
            (409, "if a device is pinned to one, or while a rollout is running"),
        ]),
    ]
}

fn rollouts() -> Vec<Entry> {
    vec![
        Entry::new("GET /api/rollouts", "Lists rollouts, newest first.")
            .answers("List", bodies::rollout_list()),
        Entry::new("GET /api/rollouts/{id}", "Shows a rollout.")
            .answers("Rollout", bodies::rollout())
            .errors(&[(404, "for an unknown id")]),
        Entry::new(
            "POST /api/rollouts",
            "Starts a rollout, or says what would happen.",
        )
        .takes("Start", bodies::rollout_start())
        .answers("Started", bodies::rollout_started())
        .errors(&[
            (400, "for an invalid value"),
            (404, "for an unknown model or build"),
            (409, "with the reason why it cannot be started now"),
        ]),
        Entry::new(
            "POST /api/rollouts/{id}/{command}",
            "`pause`, `resume`, `release` (the next wave), `stop` (with `why`), `finish` (all \
             waves at once) or `cancel` (before any device was told of it).",
        )
        .takes("Command", bodies::rollout_command())
        .answers("Rollout", bodies::rollout())
        .errors(&[
            (400, "for `stop` without `why`"),
            (404, "for an unknown id or command"),
            (409, "if that cannot be done now"),
        ]),
    ]
}

fn models() -> Vec<Entry> {
    vec![
        Entry::new("GET /api/models", "Lists all models.").answers("List", bodies::models()),
        Entry::new("GET /api/models/{code}", "Shows one model.")
            .answers("Model", bodies::model())
            .errors(NO_MODEL),
        Entry::new(
            "PUT /api/models/{code}",
            "Registers or changes a model; with `If-None-Match: *` it only registers, with \
             `If-Match: *` it only changes.",
        )
        .takes("Change", bodies::model_change())
        .answers("Model", bodies::model())
        .errors(&[
            (400, "for an invalid value"),
            (404, "with `If-Match` if it does not exist"),
            (409, "with `If-None-Match` if it exists"),
        ]),
    ]
}

fn builds() -> Vec<Entry> {
    vec![
        Entry::new(
            "GET /api/builds",
            "Lists the stored builds of all models, the newest first.",
        )
        .query(&[("model", "of this model only")])
        .answers("List", bodies::builds())
        .errors(&[(404, "for an unregistered model")]),
        Entry::new(
            "GET /api/builds/{build_id}",
            "Shows a build. Its first 8 and more digits are enough.",
        )
        .answers("Build", bodies::build())
        .errors(&[
            (404, "for an unknown build"),
            (409, "if the digits fit several"),
        ]),
    ]
}

fn devices() -> Vec<Entry> {
    vec![
        Entry::new("GET /api/devices", "Lists devices; those that fit all that is given.")
            .query(&[
                ("model", "of this model"),
                (
                    "build",
                    "that run this build: a version, or 8 and more digits of its id or of the hash of its ELF",
                ),
                ("silent, looping", "`true`: in this state; with both, in either"),
                ("no-token", "`true`: without a token of their own"),
                ("unregistered", "`true`: not registered by a person"),
                ("unseen-for", "not heard for this time, such as `7d`, `12h`, `30m`, or never"),
                (
                    "retired",
                    "`true`: only retired ones; `any`: those too; else of these only those that were heard since",
                ),
            ])
            .answers("List", bodies::devices())
            .errors(&[(400, "for an invalid parameter")]),
        Entry::new("GET /api/devices/{key}", "Shows one device.")
            .answers("Device", bodies::device())
            .errors(NO_DEVICE),
        Entry::new(
            "POST /api/devices",
            "Registers a device and creates its first token.",
        )
        .takes("NewDevice", bodies::new_device())
        .answers("Minted", bodies::minted())
        .errors(&[
            (400, "for an invalid value"),
            (404, "for an unregistered model"),
            (409, "if it is registered, or another one has its MAC address or USB serial number"),
        ]),
        Entry::new(
            "PUT /api/devices/{key}",
            "Registers or changes a device; with `If-None-Match: *` it only registers, with \
             `If-Match: *` it only changes.",
        )
        .takes("Change", bodies::device_change())
        .answers("Device", bodies::device())
        .errors(&[
            (400, "for an invalid value"),
            (404, "for an unregistered model, or with `If-Match` if the device does not exist"),
            (409, "with `If-None-Match` if it exists, or if another device has its MAC address or USB serial number"),
        ]),
        Entry::new(
            "POST /api/import/devices",
            "Registers and changes the devices of a table, all of them or none. The same table \
             once more changes nothing.",
        )
        .takes("Import", bodies::import())
        .answers("Imported", bodies::imported())
        .errors(&[
            (400, "for faults in the table; `error` has a line for each"),
            (403, "for tokens from anybody but root"),
            (409, "if the tokens are not those of the new devices"),
        ]),
        Entry::new(
            "DELETE /api/devices/{key}",
            "Removes a device and its tokens; its coredumps are kept.",
        )
        .status(204)
        .errors(NO_DEVICE),
        Entry::new(
            "PUT /api/devices/{key}/pin",
            "Pins a device to a build, regardless of its model's active one.",
        )
        .takes("Pin", bodies::pin())
        .answers("Device", bodies::device())
        .errors(&[
            (400, "if the digits match several builds"),
            (404, "for an unknown device or build"),
            (409, "for a device without a model"),
        ]),
        Entry::new(
            "DELETE /api/devices/{key}/pin",
            "Unpins a device: it gets its model's active build.",
        )
        .answers("Device", bodies::device())
        .errors(NO_DEVICE),
        Entry::new(
            "POST /api/devices/{key}/token",
            "Creates another token for a device. The older one expires when this one is first used.",
        )
        .answers("Minted", bodies::minted())
        .errors(NO_DEVICE),
        Entry::new(
            "DELETE /api/devices/{key}/tokens",
            "Revokes all tokens of a device.",
        )
        .answers("Revoked", bodies::revoked())
        .errors(NO_DEVICE),
        Entry::new(
            "GET /api/iot/config",
            "A device fetches its configuration: a file that a person put below `config` in the \
             data directory, `devices/KEY.json`, else `models/MODEL.json`. With a fleet token it \
             gets its model's only. Files without a folder, `KEY.json` and `MODEL.json`, are \
             served as well; one whose name is a model's code only as the model's.",
        )
        .query(&[KEY, REPORTS])
        .answers_words("the file, `application/json`")
        .errors(&[(404, "if there is none")]),
    ]
}

fn tokens() -> Vec<Entry> {
    vec![
        Entry::new(
            "GET /api/tokens",
            "Lists all tokens except those of devices.",
        )
        .answers("List", bodies::tokens()),
        Entry::new("POST /api/tokens", "Creates a token.")
            .takes("NewToken", bodies::new_token())
            .answers("Made", bodies::made())
            .errors(&[
                (400, "for an invalid value"),
                (404, "for an unregistered model"),
                (409, "if the name exists"),
            ]),
        Entry::new("DELETE /api/tokens/{name}", "Revokes a token.")
            .status(204)
            .errors(&[(404, "for an unknown name")]),
    ]
}

fn ports() -> Vec<Entry> {
    const BUSY: &[(u16, &str)] = &[
        (404, "for an unknown port"),
        (409, "while it is lent or not responding"),
    ];
    vec![
        Entry::new("GET /api/ports", "Lists the serial ports with their state.")
            .answers("List", bodies::ports()),
        Entry::new(
            "POST /api/ports/{name}/read",
            "Fetches the coredump from the flash of the board, which is reset for that. The \
             answer comes when it is stored.",
        )
        .answers("Read", bodies::read())
        .errors(&[
            (404, "for an unknown port"),
            (409, "with the reason why no coredump was read"),
            (507, "if the disk is full or read-only"),
        ]),
        Entry::new(
            "GET /api/ports/{name}/reading",
            "Progress of the current read.",
        )
        .answers("Reading", bodies::reading())
        .errors(&[(404, "if there is none")]),
        Entry::new("GET /api/ports/{name}/log", "The latest console lines.")
            .query(&[(
                "follow",
                "anything: keep sending new lines until the client disconnects",
            )])
            .answers_words("`text/plain`")
            .errors(NO_PORT),
        Entry::new(
            "POST /api/ports/{name}/claim",
            "Opens a port that is only listed, or takes back a released one.",
        )
        .status(204)
        .errors(BUSY),
        Entry::new(
            "POST /api/ports/{name}/release",
            "Closes a port for a while.",
        )
        .takes("Release", bodies::release())
        .status(204)
        .errors(BUSY),
        Entry::new(
            "POST /api/ports/{name}/lease",
            "Lends the port to the client, for as long as it reads the response.",
        )
        .answers_words(
            "`text/plain`: the path of the port, then empty lines until the client disconnects",
        )
        .errors(BUSY),
    ]
}

fn tls() -> Vec<Entry> {
    vec![
        Entry::new("GET /api/tls", "Shows the served certificate.").answers("Shown", bodies::tls()),
        Entry::new("GET /api/tls/csr", "A certificate signing request (CSR).")
            .answers_words("`application/pkcs10`, PEM")
            .errors(&[(
                400,
                "if the certificate's files are set in the configuration",
            )]),
        Entry::new(
            "POST /api/tls/install",
            "Installs a signed certificate chain.",
        )
        .takes_words("the chain as PEM, the server's certificate first")
        .answers("Installed", bodies::installed())
        .errors(&[(400, "with the error in the chain")]),
        Entry::new(
            "POST /api/tls/renew",
            "Renews the certificate, with the same key.",
        )
        .answers("Shown", bodies::tls())
        .errors(&[(
            400,
            "if the certificate's files are set in the configuration",
        )]),
    ]
}

fn gateway() -> Vec<Entry> {
    vec![
        Entry::new("GET /api/status", "Status of the gateway.").answers("Status", bodies::status()),
        Entry::new("GET /api/version", "Name and version of the program.")
            .answers("Version", bodies::version()),
        Entry::new("GET /healthz", "Whether the daemon is alive.")
            .answers("Health", bodies::health()),
        Entry::new("GET /readyz", "Whether it can accept a coredump now.")
            .answers("Readiness", bodies::ready())
            .errors(&[(503, "with the same body and the reasons, if not")]),
        Entry::new("GET /metrics", "Counters for monitoring.").answers_words("OpenMetrics text"),
        Entry::new(
            "GET /api/backup",
            "A backup for moving to another machine. Contains keys.",
        )
        .query(&[("with_dumps", "anything: include the coredumps")])
        .answers_words("`application/zip`"),
    ]
}
