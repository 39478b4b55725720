//! Requests, credentials, and the store's files.

use crate::built::Input;

pub(crate) fn inputs() -> Vec<Input> {
    let lists: [(&str, &[&str]); 4] = [
        ("http_head", &HEADS),
        ("http_query", &QUERIES),
        ("stored_json", &STORED),
        ("token", &AUTHORIZATIONS),
    ];
    let numbered = lists.into_iter().flat_map(|(target, texts)| {
        let inputs = texts.iter().enumerate();
        inputs.map(move |(number, text)| (target, number, text.as_bytes()))
    });
    let named = numbered.map(|(target, number, text)| {
        // where a head is cut
        let cut: &[u8] = if target == "http_head" { b"\x20" } else { b"" };
        (target, format!("{number:02}"), [cut, text].concat())
    });
    let sidecar = STORED[0].replace(r#""source":"uart""#, r#""source":"uart","x":"?""#);
    let not_text = sidecar.bytes().map(|byte| match byte {
        b'?' => 0xff,
        other => other,
    });
    let prompts = PROMPTS.iter().enumerate().map(|(number, text)| {
        let name = format!("prompt-{number}");
        ("console", name, [b"\x06", text.as_bytes()].concat())
    });
    let others = [("stored_json", String::from("not-text"), not_text.collect())];
    named.chain(prompts).chain(others).collect()
}

/// Prompts in lines that go on, which are answered before the rest comes.
const PROMPTS: [&str; 2] = [
    "Backtrace:::::Press Enter to print core dump to UART...b\n",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n\
     Press Enter to print core dump to UART...AAAAA\n",
];

const HEADS: [&str; 10] = [
    "GET /healthz HTTP/1.1\r\nHost: espgate.internal\r\n\r\n",
    "POST /api/iot/coredump?chip=esp32&firmware_version=1.2.3 HTTP/1.1\r\nHost: 10.0.0.1:8443\r\n\
     User-Agent: ESP32 HTTP Client/1.0\r\nAuthorization: Bearer eg1_aaaaaaaa_b\r\n\
     Content-Type: application/octet-stream\r\nContent-Length: 12\r\n\r\nhello, world",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "GET / HTTP/1.0\n\n",
    "\r\nGET http://a/b HTTP/1.1\nHost: a\n X: folded\n\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length : 3\r\n\r\nabc",
    "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
];

const QUERIES: [&str; 7] = [
    "chip=esp32&firmware_version=1.2.3",
    "chip=esp32s3&firmware_version=1.0+dirty&device_key=k1&v=%41%zz%",
    "v=&v=2&v=%F0%9F%92%A9",
    "bytes=0-99\n\"abc\"\n*\n\"abc\", W/\"x\"\nbytes=1-",
    "bytes=-5\n\"abc\"\n\"abc\"\n\"d\"",
    "bytes=18446744073709551615-18446744073709551615\n\n\n\n",
    "bytes=0-0,2-3\nWed, 21 Oct 2015 07:28:00 GMT",
];

const AUTHORIZATIONS: [&str; 7] = [
    "Bearer eg1_aaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "bearer  eg1_cccccccc_dddddddddddddddddddddddddddddddd ",
    "Bearer eg1_eeeeeeee_ffffffffffffffffffffffffffffffff",
    "Bearer eg1_aaaaaaaa_dddddddddddddddddddddddddddddddd",
    // k1:, and :, with a token
    "Basic azE6ZWcxX2FhYWFhYWFhX2JiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJi",
    "Basic OmVnMV9jY2NjY2NjY19kZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZA==",
    "eg1_aaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
];

/// A sidecar, the registers, the ports, a run.
const STORED: [&str; 7] = [
    r#"{"schema":1,"id":"7b262063f782","chip":"esp32","firmware_version":"1.2.3","device_key":"k1",
"model_code":"lamp","uploaded_at":"2026-02-11T14:30:00.123456Z","size":9396,"sha256":"00","source":"https",
"serial_port":null,"identity":"token","format":"elf","header_version":"1.2","verdict":"valid","problems":[],
"app_elf_sha256":"1b43c5e74","panic_reason":null,"task":"main","decode":"pending","decode_attempts":1,
"decode_failure":null,"fingerprint":"f","fingerprint_algorithm":1,"sightings":[{"at":"t","source":"uart"}],
"counted":2,"gateway_id":"g","boot_id":"b","monotonic_us":18446744073709551615,"sequence":7,"clock":"synced",
"later":{"a":[1,null]}}"#,
    r#"{"schema":1,"devices":{"k1":{"model":"lamp","name":"Kitchen","mac":"30aea44b417c","pin":"1.0",
"registered":true,"tokens":[{"id":"aaaaaaaa","sha256":"00","created_at":"t","first_used_at":null}],
"created_at":"t","running":{"build_id":null,"version":"1.0","app_elf_sha256":"1b","at":"t","from":"dump"},
"later":1}}}"#,
    r#"{"schema":1,"models":{"lamp":{"id":3,"activate":"manual","held":true,"active":null,"previous":[],
"blocked":[],"created_at":"t","more":true}}}"#,
    r#"{"schema":1,"tokens":{"ci":{"role":"pipeline","model":null,"expires_at":"2027-01-01T00:00:00Z",
"id":"cccccccc","sha256":"00","created_at":"t","first_used_at":null,"owner":"x"}}}"#,
    r#"{"schema":1,"gateway_id":"g","machine_id":"m","created_at":"t","boots":{"b":1770820200000000,
"c":-9223372036854775808,"d":9223372036854775807}}"#,
    r#"{"schema":1,"ports":{"1-1":{"claimed":true,"released":{"seconds":600,"lent":false,"at":"t","boot_id":"b",
"monotonic_us":1},"in_bootloader":true,"board":{"mac":"30aea44b417c","adapter":"10c4:ea60:S","boot_id":null},
"unasked_reads":{"crashes":["f"],"last":null}}}}"#,
    r#"{"schema":1,"boot_id":"b","started_at":"t","stopped_at":null,"last_bad_end":{"found_at":"t",
"started_at":"t","how":"alone"}}"#,
];
