//! What devices and people wrap a dump in before they send it: gzip, JSON, a
//! form with the file in it, hexadecimal text.

use std::io::Read as _;

use memchr::memmem;

/// The wrapping that `bytes` are, and what is in it.
pub(super) fn unwrap(bytes: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace())?;
    match first {
        0x1f => gzip(bytes).map(|content| ("gzip", content)),
        b'{' | b'[' | b'"' => json(bytes).map(|content| ("json", content)),
        b'-' => multipart(bytes).map(|content| ("multipart", content)),
        _ => hex(bytes).map(|content| ("hex", content)),
    }
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    if !bytes.starts_with(b"\x1f\x8b\x08") {
        return None;
    }
    // a cut or damaged stream gives what came before the damage
    let _ = flate2::read::MultiGzDecoder::new(bytes)
        .take(LARGEST)
        .read_to_end(&mut content);
    (!content.is_empty()).then_some(content)
}

/// The longest text or list of bytes in a JSON document.
fn json(bytes: &[u8]) -> Option<Vec<u8>> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let mut longest = Vec::new();
    collect(&document, &mut longest, 0);
    (longest.len() >= SHORTEST).then_some(longest)
}

fn collect(value: &serde_json::Value, longest: &mut Vec<u8>, depth: usize) {
    let mut keep = |content: Vec<u8>| {
        if content.len() > longest.len() {
            *longest = content;
        }
    };
    match value {
        serde_json::Value::String(text) => {
            // data:application/octet-stream;base64,...
            let content = text
                .split_once(";base64,")
                .map_or(text.as_str(), |(_, rest)| rest);
            keep(plain(content));
        }
        serde_json::Value::Array(values) if values.iter().all(serde_json::Value::is_u64) => {
            let byte = |value: &serde_json::Value| u8::try_from(value.as_u64()?).ok();
            keep(values.iter().map_while(byte).collect());
        }
        serde_json::Value::Array(values) if depth < DEEPEST => {
            values
                .iter()
                .for_each(|value| collect(value, longest, depth + 1));
        }
        serde_json::Value::Object(fields) if depth < DEEPEST => {
            fields
                .values()
                .for_each(|value| collect(value, longest, depth + 1));
        }
        _ => {}
    }
}

/// Text with base64's alphabet for URLs replaced by the plain one, if it is that.
fn plain(text: &str) -> Vec<u8> {
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b"-_=+/\r\n".contains(&b);
    match text.bytes().all(is_base64) {
        true => text.replace('-', "+").replace('_', "/").into_bytes(),
        false => text.as_bytes().to_vec(),
    }
}

/// The longest part of a form, by the boundary that it begins with.
fn multipart(bytes: &[u8]) -> Option<Vec<u8>> {
    let bytes = bytes.trim_ascii_start();
    let end = memchr::memchr(b'\n', bytes)?;
    let boundary = bytes.get(..end)?.trim_ascii_end();
    if !boundary.starts_with(b"--") || boundary.len() < 6 || boundary.len() > 80 {
        return None;
    }
    let mut parts = memmem::find_iter(bytes, boundary).peekable();
    let mut longest: &[u8] = &[];
    while let Some(start) = parts.next() {
        let part = bytes.get(start..parts.peek().copied().unwrap_or(bytes.len()))?;
        let body = [&b"\r\n\r\n"[..], b"\n\n"]
            .iter()
            .filter_map(|blank| Some((memmem::find(part, blank)?, blank.len())))
            .min();
        let Some((at, blank)) = body else { continue };
        let body = part.get(at + blank..).unwrap_or_default();
        let body = body.strip_suffix(b"\n").unwrap_or(body);
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        if body.len() > longest.len() {
            longest = body;
        }
    }
    (longest.len() >= SHORTEST).then(|| longest.to_vec())
}

/// Hexadecimal text: digits alone, `B4 24`, `0xb4, 0x24`, `b4:24`, and the
/// dumps of `xxd` and `hexdump -C`, with offsets before and text behind.
fn hex(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut content = Vec::new();
    let (mut good, mut bad) = (0_usize, 0_usize);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match row(line, content.len()) {
            Some(row) => {
                good += 1;
                content.extend(row);
            }
            None => bad += 1,
        }
        if bad > 2 + good / 8 {
            return None;
        }
    }
    (good > bad && content.len() >= SHORTEST).then_some(content)
}

/// The bytes of one line of a hexadecimal dump.
fn row(line: &str, held: usize) -> Option<Vec<u8>> {
    // `00000010  34 00 20 00  |4. .|` and `00000010: 3400 2000  4. .`
    let line = line.split('|').next().unwrap_or(line).trim_end();
    // the end's offset alone
    if line.len() >= 7 && held > 0 && usize::from_str_radix(line, 16) == Ok(held) {
        return Some(Vec::new());
    }
    let (offset, rest) = line
        .split_once(": ")
        .or_else(|| line.split_once("  "))
        .unwrap_or(("", line));
    let offset = offset.trim().trim_start_matches("0x");
    let counts = offset.len() >= 4 && usize::from_str_radix(offset, 16) == Ok(held);
    let line = match counts {
        // xxd has the text two blanks behind the words
        true if line.contains(": ") => rest.split("  ").next().unwrap_or(rest),
        true => rest,
        false => line,
    };
    let mut digits = String::with_capacity(line.len());
    let mut marked = false;
    let separators = [' ', ',', ':', '\t', ';', '{', '}', '"', '\\'];
    for word in line.split(separators).filter(|word| !word.is_empty()) {
        let prefixed = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
        if !digits.is_empty() && marked != prefixed.is_some() {
            return None;
        }
        marked = prefixed.is_some();
        let word = prefixed.or_else(|| word.strip_prefix('x')).unwrap_or(word);
        if word.len() == 1 && prefixed.is_some() {
            digits.push('0');
        }
        digits.push_str(word);
    }
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let byte = |[high, low]: &[u8; 2]| Some(nibble(*high)? << 4 | nibble(*low)?);
    (!pairs.is_empty()).then(|| pairs.iter().map(byte).collect())?
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Nothing shorter is a dump.
const SHORTEST: usize = 24;
/// What a compressed stream may become.
const LARGEST: u64 = 32 << 20;
const DEEPEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn content() -> Vec<u8> {
        (0..100).map(|n| (n * 7 % 251) as u8).collect()
    }

    fn digits(separator: &str, prefix: &str) -> String {
        let words: Vec<String> = content()
            .iter()
            .map(|b| format!("{prefix}{b:02X}"))
            .collect();
        let rows: Vec<String> = words.chunks(16).map(|row| row.join(separator)).collect();
        rows.join("\r\n")
    }

    #[test]
    fn hexadecimal_text_is_read_in_every_form() {
        let mut forms = vec![
            digits(" ", ""),
            digits("", ""),
            digits(":", "").to_lowercase(),
            digits(", ", "0x"),
            digits("", "").replace("\r\n", ""),
            format!("{{ {} }}", digits(", ", "0x"))
                .replace("{ ", "")
                .replace(" }", ""),
        ];
        let mut xxd = String::new();
        let mut dump = String::new();
        for (number, row) in content().chunks(16).enumerate() {
            let words: Vec<String> = row
                .chunks(2)
                .map(|pair| pair.iter().map(|b| format!("{b:02x}")).collect())
                .collect();
            xxd += &format!("{:08x}: {:<40} ..4. .\n", number * 16, words.join(" "));
            let bytes: Vec<String> = row.iter().map(|b| format!("{b:02x}")).collect();
            dump += &format!("{:08x}  {}  |..4. .|\n", number * 16, bytes.join(" "));
        }
        forms.push(xxd);
        dump += "00000064\n";
        forms.push(dump);
        for form in forms {
            assert_eq!(unwrap(form.as_bytes()), Some(("hex", content())), "{form}");
        }
        for text in [
            "hello, I am a console\n",
            "deadbeef\n",
            &"A0 : 0x1\n".repeat(40),
        ] {
            assert_eq!(unwrap(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrapped_comes_out() {
        let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        zip.write_all(&content()).unwrap();
        assert_eq!(unwrap(&zip.finish().unwrap()), Some(("gzip", content())));

        let list = format!("{{\"dump\": {:?}, \"chip\": \"esp32\"}}", content());
        assert_eq!(unwrap(list.as_bytes()), Some(("json", content())));
        let text = "Ab-_".repeat(10);
        let json = format!("{{\"a\": [{{\"data\": \"data:x/y;base64,{text}\"}}]}}");
        assert_eq!(
            unwrap(json.as_bytes()),
            Some(("json", "Ab+/".repeat(10).into_bytes()))
        );

        let head = b"--xyz123\r\nContent-Disposition: form-data; name=\"chip\"\r\n\r\nesp32\r\n--xyz123\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
        let form = [&head[..], &content(), b"\r\n--xyz123--\r\n"].concat();
        assert_eq!(unwrap(&form), Some(("multipart", content())));
    }
}
