//! On which devices something was seen. Most are seen on one: in few bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::group::Seen;
use crate::store::{compact, shared};

/// How often something was seen on each device, by the devices' keys.
#[derive(Clone, Debug, PartialEq)]
pub enum SeenOn {
    /// One device, without another allocation.
    One([(Arc<str>, Seen); 1]),
    /// None or several, ordered.
    Several(Vec<(Arc<str>, Seen)>),
}

impl Default for SeenOn {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl SeenOn {
    fn all(&self) -> &[(Arc<str>, Seen)] {
        match self {
            Self::One(one) => one,
            Self::Several(several) => several,
        }
    }

    fn all_mut(&mut self) -> &mut [(Arc<str>, Seen)] {
        match self {
            Self::One(one) => one,
            Self::Several(several) => several,
        }
    }

    fn place(&self, device: &str) -> Result<usize, usize> {
        self.all().binary_search_by(|(key, _)| (**key).cmp(device))
    }

    pub fn len(&self) -> usize {
        self.all().len()
    }

    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    pub fn get(&self, device: &str) -> Option<&Seen> {
        let at = self.place(device).ok()?;
        self.all().get(at).map(|(_, seen)| seen)
    }

    pub fn get_mut(&mut self, device: &str) -> Option<&mut Seen> {
        let at = self.place(device).ok()?;
        self.all_mut().get_mut(at).map(|(_, seen)| seen)
    }

    pub fn contains(&self, device: &str) -> bool {
        self.place(device).is_ok()
    }

    /// The devices, ordered.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.all().iter().map(|(device, _)| device)
    }

    pub fn values(&self) -> impl Iterator<Item = &Seen> {
        self.all().iter().map(|(_, seen)| seen)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Seen> {
        self.all_mut().iter_mut().map(|(_, seen)| seen)
    }

    /// Devices and what was seen on them, ordered.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Seen)> {
        self.all().iter().map(|(device, seen)| (device, seen))
    }

    /// Adds what was seen on a device.
    pub fn add(&mut self, device: &str, seen: Seen) {
        let at = match self.place(device) {
            Ok(at) => {
                if let Some((_, mine)) = self.all_mut().get_mut(at) {
                    mine.add(seen);
                }
                return;
            }
            Err(at) => at,
        };
        let new = (shared::text(device), seen);
        *self = match std::mem::take(self) {
            Self::Several(none) if none.is_empty() => Self::One([new]),
            Self::Several(mut several) => {
                compact::insert(&mut several, at, new);
                Self::Several(several)
            }
            Self::One([one]) if at == 0 => Self::Several(vec![new, one]),
            Self::One([one]) => Self::Several(vec![one, new]),
        };
    }

    /// Takes a device out.
    pub fn remove(&mut self, device: &str) -> Option<Seen> {
        let at = self.place(device).ok()?;
        match self {
            Self::One([(_, seen)]) => {
                let seen = *seen;
                *self = Self::default();
                Some(seen)
            }
            Self::Several(several) => Some(several.remove(at).1),
        }
    }
}

impl Serialize for SeenOn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for SeenOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = BTreeMap::<String, Seen>::deserialize(deserializer)?;
        let mut all: Vec<(Arc<str>, Seen)> = Vec::with_capacity(read.len());
        all.extend(
            read.iter()
                .map(|(device, seen)| (shared::text(device), *seen)),
        );
        Ok(match <[_; 1]>::try_from(all) {
            Ok(one) => Self::One(one),
            Err(several) => Self::Several(several),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::crashes::At;

    fn seen(occurrences: u64) -> Seen {
        let at = At::parse("2026-01-01T00:00:00Z").unwrap();
        Seen {
            occurrences,
            first_seen: at,
            last_seen: at,
            during_outage: 0,
        }
    }

    #[test]
    fn devices_are_counted_in_their_order_however_many_there_are() {
        let mut devices = SeenOn::default();
        for device in ["b", "c", "a", "b", "d", "b"] {
            devices.add(device, seen(1));
            let text = serde_json::to_string(&devices).unwrap();
            assert_eq!(serde_json::from_str::<SeenOn>(&text).unwrap(), devices);
        }
        let all = |devices: &SeenOn| -> Vec<String> {
            let all = devices.iter();
            all.map(|(device, seen)| format!("{device}{}", seen.occurrences))
                .collect()
        };
        assert_eq!(all(&devices), ["a1", "b3", "c1", "d1"]);
        assert_eq!(devices.remove("x"), None);
        for device in ["a", "c", "d"] {
            assert_eq!(devices.remove(device), Some(seen(1)), "{device}");
        }
        assert_eq!(all(&devices), ["b3"]);
        let text = serde_json::to_string(&devices).unwrap();
        let mut one: SeenOn = serde_json::from_str(&text).unwrap();
        assert_eq!(one.remove("a"), None);
        assert_eq!(one.remove("b"), Some(seen(3)));
        assert!(one.is_empty() && !one.contains("b"));
    }
}
