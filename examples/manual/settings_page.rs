//! espgate.toml(5), from the text that `espgate config default` prints.

use super::roff::Roff;

/// The page. Comments above settings become their explanation; the comment at
/// the file's top becomes the description.
pub(crate) fn page(default_text: &str) -> String {
    let mut roff = Roff::page("espgate.toml", 5);
    roff.section("NAME");
    roff.lines("espgate.toml - settings of espgate");
    roff.section("SYNOPSIS");
    roff.lines("/etc/espgate/espgate.toml");
    roff.section("DESCRIPTION");
    let mut group = Group::default();
    let mut settings_begun = false;
    for line in default_text.lines() {
        let setting = line.strip_prefix("#: ").unwrap_or(line);
        if line.is_empty() {
            group.end(&mut roff);
            if !settings_begun {
                settings_begun = true;
                roff.section("SETTINGS");
                roff.lines("Shown with their defaults or, where there is none, with an example.");
            }
        } else if setting.starts_with('[') {
            group.end(&mut roff);
            roff.subsection(setting);
        } else if let Some(text) = line.strip_prefix("# ") {
            if !group.settings.is_empty() {
                group.end(&mut roff);
            }
            group.text.push_str(text);
            group.text.push('\n');
        } else {
            group.settings.push(setting.to_owned());
        }
    }
    group.end(&mut roff);
    roff.section("SEE ALSO");
    roff.lines("espgate(1); https://toml.io for the file's syntax.");
    roff.finish()
}

/// Settings that stand together, and the comment above them.
#[derive(Default)]
struct Group {
    text: String,
    settings: Vec<String>,
}

impl Group {
    fn end(&mut self, roff: &mut Roff) {
        let Self { text, settings } = std::mem::take(self);
        if settings.is_empty() {
            if !text.is_empty() {
                roff.paragraph(&text);
            }
        } else {
            roff.terms(&settings, &text);
        }
    }
}
