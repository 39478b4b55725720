//! A function's name as it is compared: without what the compiler adds, and what
//! differs between two instances of one function.

/// `name`, which is demangled already, without arguments, template arguments, hashes,
/// clone suffixes and the numbers of lambdas; at most [`NAME_LIMIT`] characters.
pub(super) fn plain(name: &str) -> String {
    let name = match name.char_indices().nth(READ_LIMIT) {
        Some((end, _)) => name.get(..end).unwrap_or_default(),
        None => name,
    };
    let mut reader = Reader {
        rest: without_suffixes(name.trim()),
        out: String::new(),
        kept: 0,
    };
    while reader.step() {}
    let out = reader.out.trim_end();
    match out.char_indices().nth(NAME_LIMIT) {
        Some((end, _)) => out.get(..end).unwrap_or_default().to_owned(),
        None => out.to_owned(),
    }
}

/// Without `.isra.0`, `[clone .part.1]` and Rust's `::h0123456789abcdef`.
fn without_suffixes(mut name: &str) -> &str {
    if let Some((before, _)) = name.split_once(" [clone ") {
        name = before;
    }
    while let Some(shorter) = without_suffix(name) {
        name = shorter;
    }
    name
}

fn without_suffix(name: &str) -> Option<&str> {
    if let Some((before, hash)) = name.rsplit_once("::h")
        && hash.len() == 16
        && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
    {
        return Some(before);
    }
    // Xtensa's assembler once took no dots in names
    let at = name.rfind(['.', '$'])?;
    let (before, suffix) = name.split_at_checked(at)?;
    let suffix = suffix.get(1..)?;
    let number = !suffix.is_empty() && suffix.bytes().all(|digit| digit.is_ascii_digit());
    if CLONES.contains(&suffix) {
        return Some(before).filter(|before| !before.is_empty());
    }
    let at = before.rfind(['.', '$']).filter(|_| number)?;
    let (before, word) = before.split_at_checked(at)?;
    (CLONES.contains(&word.get(1..)?) && !before.is_empty()).then_some(before)
}

struct Reader<'a> {
    rest: &'a str,
    out: String,
    /// Angle brackets that are open and belong to the name: `<T as Trait>::method`.
    kept: usize,
}

impl Reader<'_> {
    /// Takes the next piece; false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else {
            return false;
        };
        match first {
            'o' if self.operator() => {}
            '<' => self.angle(),
            '>' if self.kept > 0 => {
                self.kept -= 1;
                self.copy(1);
            }
            '(' => self.round(),
            '{' => self.curly(),
            '[' if self.rest.starts_with("[abi:") => self.skip_to(']'),
            '\'' if self.rest.starts_with("'lambda") => {
                self.skip(1);
                self.skip_to('\'');
                self.out.push_str(LAMBDA);
            }
            '#' => self.number(),
            '$' if self.rest.starts_with("$_") => {
                self.skip(1);
                self.number();
                self.out.push_str(LAMBDA);
            }
            _ if first.is_control() || first.is_whitespace() => {
                self.skip(first.len_utf8());
                if !self.out.is_empty() && !self.out.ends_with(' ') {
                    self.out.push(' ');
                }
            }
            _ => self.copy(first.len_utf8()),
        }
        true
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn copy(&mut self, bytes: usize) {
        self.out
            .push_str(self.rest.get(..bytes).unwrap_or_default());
        self.skip(bytes);
    }

    fn skip_to(&mut self, last: char) {
        let end = self.rest.find(last).map(|at| at + last.len_utf8());
        self.skip(end.unwrap_or(self.rest.len()));
    }

    /// One sign and the digits behind it.
    fn number(&mut self) {
        self.skip(1);
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
    }

    /// Skips from an opening bracket to the one that closes it.
    fn skip_bracket(&mut self, open: char, close: char) {
        let mut depth = 0_usize;
        let mut before = ' ';
        for (at, letter) in self.rest.char_indices() {
            if letter == open {
                depth += 1;
            } else if letter == close && before != '-' {
                depth -= 1;
                if depth == 0 {
                    self.skip(at + letter.len_utf8());
                    return;
                }
            }
            before = letter;
        }
        self.rest = "";
    }

    /// `operator<` and the like, whose signs are no brackets.
    fn operator(&mut self) -> bool {
        let inside_a_word = self
            .out
            .ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let Some(behind) = self
            .rest
            .strip_prefix("operator")
            .filter(|_| !inside_a_word)
        else {
            return false;
        };
        let sign = OPERATORS.iter().find(|sign| behind.starts_with(**sign));
        let Some(sign) = sign else {
            return false;
        };
        self.copy("operator".len() + sign.len());
        if self.rest.starts_with(" <") {
            self.skip(1);
            self.skip_bracket('<', '>');
        }
        true
    }

    fn angle(&mut self) {
        if self.rest.starts_with("<lambda") {
            self.skip_bracket('<', '>');
            self.out.push_str(LAMBDA);
        } else if self.out.ends_with("::") {
            // Rust's `name::<T>`
            let end = self.out.len() - 2;
            self.out.truncate(end);
            self.skip_bracket('<', '>');
        } else if self.out.is_empty() || self.out.ends_with(['<', ' ', '&', '*', '(']) {
            self.kept += 1;
            self.copy(1);
        } else {
            self.skip_bracket('<', '>');
        }
    }

    fn round(&mut self) {
        const NAMELESS: &str = "(anonymous namespace)";
        if self.rest.starts_with(NAMELESS) {
            self.copy(NAMELESS.len());
        } else if self.out.is_empty() {
            self.copy(1);
        } else {
            self.skip_bracket('(', ')');
            for word in [" const", " volatile", " noexcept", " &&", " &"] {
                if let Some(rest) = self.rest.strip_prefix(word) {
                    self.rest = rest;
                }
            }
        }
    }

    /// `{lambda(int)#1}`, `{{closure}}`, `{closure#0}`.
    fn curly(&mut self) {
        let before = self.rest;
        self.skip_bracket('{', '}');
        let length = before.len() - self.rest.len();
        let inner = before.get(..length).unwrap_or_default();
        let inner = inner.trim_matches(['{', '}']);
        let end = inner.find(['(', '#']).unwrap_or(inner.len());
        self.out.push('{');
        self.out.push_str(inner.get(..end).unwrap_or_default());
        self.out.push('}');
    }
}

const LAMBDA: &str = "{lambda}";
const CLONES: [&str; 8] = [
    "isra",
    "part",
    "constprop",
    "cold",
    "lto_priv",
    "localalias",
    "llvm",
    "clone",
];
/// Longest first.
const OPERATORS: [&str; 12] = [
    "<=>", "<<=", ">>=", "->*", "<<", ">>", "<=", ">=", "->", "()", "<", ">",
];
/// Characters of a name that are compared.
const NAME_LIMIT: usize = 200;
/// Characters of a name that are read.
const READ_LIMIT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_what_compilers_add() {
        for (name, expected) in [
            ("app_main", "app_main"),
            ("read_line.isra.0", "read_line"),
            ("read_line.constprop.0.isra.1", "read_line"),
            ("read_line$part$3", "read_line"),
            ("read_line.cold", "read_line"),
            ("read_line.lto_priv.12", "read_line"),
            ("Display::draw [clone .isra.0]", "Display::draw"),
            ("a.b", "a.b"),
            (".isra.0", ".isra.0"),
            ("blink::run::h0123456789abcdef", "blink::run"),
            ("blink::run::hello", "blink::run::hello"),
            ("Display::draw(int, char const*)", "Display::draw"),
            ("Display::draw() const", "Display::draw"),
            (
                "std::vector<int, std::allocator<int> >::at",
                "std::vector::at",
            ),
            ("Ring<(a->b)>::push", "Ring::push"),
            ("std::string[abi:cxx11]::c_str", "std::string::c_str"),
            ("operator<<", "operator<<"),
            ("operator<< <char>(std::ostream&)", "operator<<"),
            ("Pin::operator->", "Pin::operator->"),
            ("Pin::operator()(int) const", "Pin::operator()"),
            ("Pin::operator bool() const", "Pin::operator bool"),
            ("my_operator<int>", "my_operator"),
            ("operator new(unsigned int)", "operator new"),
            (
                "(anonymous namespace)::tick(int)",
                "(anonymous namespace)::tick",
            ),
            (
                "run()::{lambda(int)#2}::operator()(int) const",
                "run::{lambda}::operator()",
            ),
            (
                "run()::'lambda1'(int)::operator()",
                "run::{lambda}::operator()",
            ),
            (
                "run()::<lambda(int)>::operator()",
                "run::{lambda}::operator()",
            ),
            ("run::$_0::operator()", "run::{lambda}::operator()"),
            ("run::{unnamed type#1}::go", "run::{unnamed type}::go"),
            ("blink::run::{{closure}}", "blink::run::{closure}"),
            ("blink::run::{closure#3}", "blink::run::{closure}"),
            (
                "core::ptr::drop_in_place::<blink::Led>",
                "core::ptr::drop_in_place",
            ),
            (
                "<alloc::vec::Vec<T> as core::iter::FromIterator<T>>::from_iter",
                "<alloc::vec::Vec as core::iter::FromIterator>::from_iter",
            ),
            ("a\tb\nc\u{7}", "a b c"),
            ("", ""),
        ] {
            assert_eq!(plain(name), expected, "{name}");
        }
    }

    #[test]
    fn unbalanced_and_endless_names_end() {
        for name in [
            "a<b",
            "a(b",
            "{a",
            "a>b)",
            "[abi:",
            "'lambda",
            "<",
            "operator<",
        ] {
            plain(name);
        }
        for piece in ["a<", "(", "{", "<", "a::<", "é", "operator<"] {
            let name = plain(&piece.repeat(100_000));
            assert!(name.chars().count() <= NAME_LIMIT, "{piece}");
        }
    }
}
