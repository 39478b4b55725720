//! The structs and enums of a source file with what is said of their fields:
//! line by line, as rustfmt lays them out.

/// A struct with fields, or an enum of words.
pub(crate) struct Type {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) fields: Vec<Field>,
    /// The words of an enum and what they mean.
    pub(crate) words: Vec<(String, String)>,
}

/// A field as it is in the JSON.
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) doc: String,
}

/// All public types of a file, up to its tests.
pub(crate) fn types(text: &str) -> Vec<Type> {
    let mut found: Vec<Type> = Vec::new();
    let (mut doc, mut attributes) = (String::new(), String::new());
    let mut inside = false;
    let mut kebab = false;
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    // An attribute over several lines is one.
    let mut open = false;
    for line in text.lines().map(str::trim) {
        if open || line.starts_with("#[") {
            attributes.push_str(line);
            open = !line.ends_with(']');
            continue;
        }
        if let Some(said) = line.strip_prefix("///") {
            doc.push_str(said);
            continue;
        }
        let begun = ["pub struct ", "pub enum "]
            .iter()
            .find_map(|start| line.strip_prefix(start)?.strip_suffix(" {"));
        if let Some(name) = begun {
            kebab = attributes.contains("kebab-case");
            inside = true;
            found.push(Type {
                name: name.to_owned(),
                doc: doc.trim().to_owned(),
                fields: Vec::new(),
                words: Vec::new(),
            });
        } else if line == "}" {
            inside = false;
        } else if let Some(current) = found.last_mut().filter(|_| inside) {
            let line = line.trim_end_matches(',');
            let doc = doc.trim().to_owned();
            match line
                .strip_prefix("pub ")
                .and_then(|rest| rest.split_once(": "))
            {
                // What another release knows of it.
                Some((_, of)) if of.starts_with("Map<") => {}
                Some((name, of)) => current.fields.push(field(name, of, doc, &attributes)),
                None if line.chars().all(char::is_alphanumeric) && !line.is_empty() => {
                    current.words.push((word(line, kebab), doc));
                }
                None => {}
            }
        }
        doc.clear();
        attributes.clear();
    }
    found
}

fn field(name: &str, of: &str, doc: String, attributes: &str) -> Field {
    if attributes.contains("flatten") {
        return Field {
            name: String::from("..."),
            kind: format!("fields of `{of}`"),
            doc,
        };
    }
    let renamed = attributes.split("rename = \"").nth(1);
    let renamed = renamed.and_then(|rest| rest.split('"').next());
    let may_be_absent = attributes.contains("skip_serializing_if");
    let kind = match of.strip_prefix("Option<").filter(|_| may_be_absent) {
        Some(inner) => format!(
            "{}, or absent",
            kind(inner.strip_suffix('>').unwrap_or(inner))
        ),
        None => kind(of),
    };
    Field {
        name: format!("`{}`", renamed.unwrap_or(name)),
        kind,
        doc,
    }
}

/// A Rust type in the words of JSON.
fn kind(of: &str) -> String {
    let inner = |start: &str| of.strip_prefix(start)?.strip_suffix('>');
    if let Some(of) = inner("Option<") {
        return format!("{} or `null`", kind(of));
    }
    if let Some(of) = inner("Vec<") {
        return format!("list of {}", kind(of));
    }
    if let Some(of) = inner("OpenEnum<") {
        return kind(of);
    }
    match of {
        "String" | "PathBuf" | "ModelCode" | "DeviceKey" => String::from("text"),
        "bool" => String::from("true or false"),
        "u16" | "u32" | "u64" | "usize" => String::from("number"),
        of if of.starts_with("BTreeMap<String, u64") => String::from("numbers by name"),
        of => format!("`{of}`"),
    }
}

/// A variant's name as serde writes it.
fn word(name: &str, kebab: bool) -> String {
    let mut word = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && kebab && !word.is_empty() {
            word.push('-');
        }
        word.extend(letter.to_lowercase());
    }
    word
}
