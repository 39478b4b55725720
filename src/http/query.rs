//! Query strings as devices write them, often without percent-encoding.

use crate::digest::nibble;

/// A request's parameters, the first of each name.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Takes a query string apart. A `+` is a plus, a valid `%XX` is decoded,
    /// an invalid one stays as it is.
    pub fn parse(text: &str) -> Self {
        Self(
            text.split('&')
                .filter_map(|pair| {
                    let (name, value) = pair.split_once('=')?;
                    Some((decode(name), decode(value)))
                })
                .collect(),
        )
    }

    /// The value of a parameter; an empty one counts as missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// A path segment or query part with its valid `%XX` decoded.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let pair = match (first, after) {
            (b'%', [high, low, ..]) => nibble(*high).zip(nibble(*low)),
            _ => None,
        };
        match pair {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_devices_write_them() {
        for (text, value) in [
            ("v=1.2.3", Some("1.2.3")),
            ("v=1.0+dirty", Some("1.0+dirty")),
            ("v=a%2Fb%2fc", Some("a/b/c")),
            ("v=100%", Some("100%")),
            ("v=%zz%4", Some("%zz%4")),
            ("v=", None),
            ("v", None),
            ("x=1", None),
            ("v=&v=2", Some("2")),
            ("v=1&v=2", Some("1")),
            ("x=1&v=a=b", Some("a=b")),
            ("v=%ff", Some("\u{fffd}")),
        ] {
            assert_eq!(Query::parse(text).get("v"), value, "{text}");
        }
    }
}
