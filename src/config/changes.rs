//! Differences between two configurations, and which of them require a restart.

use serde_json::Value;

use super::Config;

/// Settings that the daemon reads at its start only. All others are in force
/// once a reload is done.
pub const AT_START: [&str; 3] = ["data_dir", "coredumps.dir", "firmware.dir"];

/// The dotted keys of the settings that differ. A list is one setting.
pub fn changed(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    // A configuration was read from text, so it can be written as such.
    if let (Ok(old), Ok(new)) = (serde_json::to_value(old), serde_json::to_value(new)) {
        compare("", &old, &new, &mut keys);
    }
    keys
}

fn compare(key: &str, old: &Value, new: &Value, keys: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        if old != new {
            keys.push(key.to_owned());
        }
        return;
    };
    for (name, value) in new {
        let dot = if key.is_empty() { "" } else { "." };
        let before = old.get(name).unwrap_or(&Value::Null);
        compare(&format!("{key}{dot}{name}"), before, value, keys);
    }
}

impl Config {
    /// This configuration as a daemon that runs with `running` can use it: with
    /// that one's settings of [`AT_START`].
    pub fn without_restart(mut self, running: &Self) -> Self {
        self.data_dir.clone_from(&running.data_dir);
        self.coredumps.dir.clone_from(&running.coredumps.dir);
        self.firmware.dir.clone_from(&running.firmware.dir);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn changed_settings_are_named_and_others_are_not() {
        let config = |text: &str| parse(text).unwrap().config;
        let old = config("[http]\nmax_connections = 5\n[tls]\nnames = [\"a\"]\n");
        let new = config(
            "data_dir = \"/x\"\n[http]\nmax_connections = 6\n[coredumps]\nmin_free = 7\n\
             [[serial.port]]\npath = \"/dev/x\"\n",
        );
        let mut keys = changed(&old, &new);
        keys.sort();
        assert_eq!(
            keys,
            [
                "coredumps.min_free",
                "data_dir",
                "http.max_connections",
                "serial.port",
                "tls.names"
            ]
        );
        assert_eq!(changed(&old, &old), Vec::<String>::new());
        assert_eq!(changed(&new, &old).len(), keys.len());
    }

    #[test]
    fn the_printed_default_says_which_settings_need_a_restart() {
        let mut marked = Vec::new();
        let mut section = String::new();
        let mut comment = String::new();
        for line in crate::config::DEFAULT_TEXT.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.replace(']', ".");
            }
            match line.strip_prefix("# ") {
                Some(text) => comment.push_str(text),
                None => {
                    let setting = line.strip_prefix("#: ").unwrap_or(line);
                    if comment.ends_with("Requires a restart.") {
                        let key = setting.split(' ').next().unwrap();
                        marked.push(format!("{section}{key}"));
                    }
                    comment.clear();
                }
            }
        }
        assert_eq!(marked, AT_START);
    }

    #[test]
    fn what_is_read_at_the_start_only_stays_as_it_is_until_a_restart() {
        let running = parse("data_dir = \"/a\"\n").unwrap().config;
        let text = "data_dir = \"/b\"\n[coredumps]\ndir = \"/c\"\nkeep_per_device = 3\n\
                    [firmware]\ndir = \"/d\"\n";
        let new = parse(text).unwrap().config;
        let mut differing = changed(&running, &new);
        differing.retain(|key| key != "coredumps.keep_per_device");
        differing.sort();
        let mut expected = AT_START.map(String::from);
        expected.sort();
        assert_eq!(differing, expected);
        let in_force = new.without_restart(&running);
        assert_eq!(changed(&running, &in_force), ["coredumps.keep_per_device"]);
    }
}
