//! `version.json`: the build pipeline's data about the build.

use serde_json::Value;

use super::Refusal;

/// What `version.json` says. The version of record is not this one but the .bin's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    pub git_commit: String,
    pub idf_version: String,
    pub firmware_version: String,
    /// Whether `.map` and `sdkconfig` may be missing: build systems other than ESP-IDF's have
    /// none.
    pub partial: bool,
}

impl Manifest {
    /// Reads `version.json`; a byte order mark in front is what PowerShell likes to write.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let value: Value =
            serde_json::from_slice(bytes).map_err(|why| Refusal::VersionJson(why.to_string()))?;
        let Value::Object(fields) = value else {
            return Err(Refusal::VersionJson("not an object".to_owned()));
        };
        let missing: Vec<String> = ["firmware_version", "git_commit", "idf_version"]
            .into_iter()
            .filter(|name| !fields.contains_key(*name))
            .map(str::to_owned)
            .collect();
        if !missing.is_empty() {
            return Err(Refusal::MissingFields(missing));
        }
        let text = |name| match fields.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        Ok(Self {
            git_commit: text("git_commit"),
            idf_version: text("idf_version"),
            firmware_version: text("firmware_version"),
            partial: fields.get("partial") == Some(&Value::Bool(true)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_in_front_is_fine() {
        let json = "\u{feff}{\"git_commit\":\"c0ffee\",\"idf_version\":\"v5.5\",\
                    \"firmware_version\":\"1.2.3\",\"more\":[1]}";
        let manifest = Manifest::parse(json.as_bytes()).unwrap();
        assert_eq!(manifest.git_commit, "c0ffee");
        assert_eq!(manifest.idf_version, "v5.5");
        assert_eq!(manifest.firmware_version, "1.2.3");
    }

    #[test]
    fn what_is_wrong_is_said_in_fixed_words() {
        let cases: [(&[u8], &str); 5] = [
            (
                b"{\"idf_version\":1}",
                "missing fields: firmware_version, git_commit",
            ),
            (
                b"{}",
                "missing fields: firmware_version, git_commit, idf_version",
            ),
            (b"[]", "is not valid JSON: not an object"),
            (
                b"{",
                "is not valid JSON: EOF while parsing an object at line 1 column 1",
            ),
            (
                b"",
                "is not valid JSON: EOF while parsing a value at line 1 column 0",
            ),
        ];
        for (bytes, text) in cases {
            let refusal = Manifest::parse(bytes).unwrap_err().to_string();
            let expected = format!("Invalid firmware ZIP: version.json {text}");
            assert_eq!(refusal, expected);
        }
    }

    #[test]
    fn deep_nesting_and_foreign_encodings_are_no_json() {
        for bytes in ["[".repeat(100_000).as_bytes(), b"\xff\xfe{\0}\0"] {
            let refusal = Manifest::parse(bytes).unwrap_err();
            assert!(matches!(refusal, Refusal::VersionJson(_)), "{refusal}");
        }
    }
}
