//! Arduino's `HTTPUpdate`: says in headers what the board runs, and installs
//! whatever is answered with 200. Facts from HTTPUpdate.cpp of arduino-esp32.

use crate::digest::Sha256;
use crate::store::firmware::Build;

/// What a board says of itself in `x-ESP32-*` headers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Board {
    /// `x-ESP32-mode`: `sketch`, or `spiffs` for an image of a filesystem.
    pub wants_filesystem: bool,
    /// `x-ESP32-version`: what the sketch gave as its version.
    pub version: Option<String>,
    /// `x-ESP32-sketch-sha256`: the digest at the end of the image that runs.
    pub sketch: Option<Sha256>,
    /// `x-ESP32-free-space`: the size of the partition for the next image, bytes.
    pub free_space: Option<u64>,
}

/// What to do for such a board.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Update {
    Send,
    /// It runs the build already.
    HasIt,
    /// The image does not fit into its partition.
    TooLarge,
    /// It asks for something that is not served.
    NotServed,
}

impl Board {
    /// Reads the headers; `None` for other clients.
    pub fn of<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let mode = header("x-esp32-mode");
        let version = header("x-esp32-version");
        let sketch = header("x-esp32-sketch-sha256");
        let free_space = header("x-esp32-free-space");
        if [mode, version, sketch, free_space]
            .iter()
            .all(Option::is_none)
        {
            return None;
        }
        Some(Self {
            wants_filesystem: mode.is_some_and(|mode| mode.eq_ignore_ascii_case("spiffs")),
            version: version.filter(|text| !text.is_empty()).map(str::to_owned),
            sketch: sketch.and_then(|text| text.to_ascii_lowercase().parse().ok()),
            free_space: free_space.and_then(|text| text.parse().ok()),
        })
    }

    /// Decides for the offered build; `is_stored` tells whether a digest is at the end of
    /// the image of some other build of the model.
    pub fn update_to(&self, offered: &Build, is_stored: impl Fn(Sha256) -> bool) -> Update {
        if self.wants_filesystem {
            return Update::NotServed;
        }
        let runs_offered = self.sketch.is_some() && self.sketch == offered.bin_appended_sha256;
        // a digest that nobody knows is of an image that was changed after the upload, signed
        // for example: then the version decides
        let says_offered = self.version.as_deref() == Some(offered.version.as_str());
        if runs_offered || (says_offered && !self.sketch.is_some_and(is_stored)) {
            return Update::HasIt;
        }
        match self.free_space {
            Some(free) if free < offered.bin_size => Update::TooLarge,
            _ => Update::Send,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered() -> Build {
        let digest = Sha256::from_bytes([7; 32]).to_string();
        serde_json::from_value(serde_json::json!({
            "schema": 1, "name": "1.2.3", "version": "1.2.3", "kind": "bin", "size": 1000,
            "sha256": digest, "bin_size": 1000, "bin_sha256": digest,
            "bin_appended_sha256": Sha256::from_bytes([0xAB; 32]).to_string(),
            "app_elf_sha256": null, "elf_sha256": null, "chip": null, "project": null,
            "idf_version": null, "git_commit": null, "built_at": null, "secure_version": 0,
            "warnings": [], "uploaded_at": "", "sequence": 1,
        }))
        .unwrap()
    }

    fn update(headers: &[(&str, &str)]) -> Option<Update> {
        let header = |name: &str| {
            let found = headers.iter().find(|(header, _)| *header == name);
            found.map(|(_, value)| *value)
        };
        let other = Sha256::from_bytes([0xCD; 32]);
        let board = Board::of(header)?;
        Some(board.update_to(&offered(), |digest| digest == other))
    }

    #[test]
    fn a_board_gets_what_it_does_not_run_and_what_fits() {
        let (own, other, unknown) = ("AB".repeat(32), "cd".repeat(32), "00".repeat(32));
        let (version, sketch) = ("x-esp32-version", "x-esp32-sketch-sha256");
        for (headers, expected) in [
            (vec![(version, "1.2.2")], Update::Send),
            (vec![(version, "")], Update::Send),
            (vec![(version, "1.2.3")], Update::HasIt),
            (vec![(sketch, own.as_str())], Update::HasIt),
            (vec![(sketch, own.as_str()), (version, "0")], Update::HasIt),
            (
                vec![(sketch, other.as_str()), (version, "1.2.3")],
                Update::Send,
            ),
            (
                vec![(sketch, unknown.as_str()), (version, "1.2.3")],
                Update::HasIt,
            ),
            (vec![(sketch, unknown.as_str())], Update::Send),
            (vec![(sketch, "garbage"), (version, "1.2.3")], Update::HasIt),
            (vec![("x-esp32-free-space", "999")], Update::TooLarge),
            (vec![("x-esp32-free-space", "1000")], Update::Send),
            (
                vec![("x-esp32-free-space", "9"), (version, "1.2.3")],
                Update::HasIt,
            ),
            (
                vec![("x-esp32-mode", "spiffs"), (version, "1.2.3")],
                Update::NotServed,
            ),
            (vec![("x-esp32-mode", "sketch")], Update::Send),
        ] {
            assert_eq!(update(&headers), Some(expected), "{headers:?}");
        }
        assert_eq!(update(&[("user-agent", "ESP32-http-Update")]), None);
    }
}
