//! Just enough of Rust's grammar to tell code from comments, strings and tests.

/// The text with comments, strings and characters as spaces; line ends stay, so that offsets and lines do too.
/// Shape: as many characters as `text`.
pub fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skip(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment, string or character that begins at `at` ends; `at` if none begins there.
fn skip(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    let after_word = at > 0 && is_word(chars[at - 1]);
    match chars[at] {
        '/' if next == Some('/') => find(chars, at, |rest| rest[0] == '\n'),
        '/' if next == Some('*') => skip_block(chars, at),
        '"' => skip_string(chars, at + 1),
        'r' | 'b' | 'c' if !after_word => match raw_quote(chars, at) {
            Some((quote, hashes)) => {
                let is_end = |rest: &[char]| {
                    rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|c| *c == '#')
                };
                (find(chars, quote + 1, is_end) + 1 + hashes).min(chars.len())
            }
            None => at,
        },
        '\'' if next == Some('\\') => (find(chars, at + 3, |rest| rest[0] == '\'') + 1).min(chars.len()),
        '\'' if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

/// First place from `from` on where `is_there` holds, else the end.
fn find(chars: &[char], from: usize, is_there: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|at| is_there(&chars[*at..])).unwrap_or(chars.len())
}

fn skip_block(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn skip_string(chars: &[char], start: usize) -> usize {
    let mut at = start;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The opening quote of a raw string whose prefix begins at `at`, and its number of hashes.
fn raw_quote(chars: &[char], at: usize) -> Option<(usize, usize)> {
    let r = if chars[at] == 'r' { at } else { at + 1 };
    if chars.get(r) != Some(&'r') {
        return None;
    }
    let quote = find(chars, r + 1, |rest| rest[0] != '#');
    (chars.get(quote) == Some(&'"')).then_some((quote, quote - r - 1))
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Code with everything under `#[cfg(test)]` as spaces too.
pub fn code_without_tests(text: &str) -> String {
    let mut chars: Vec<char> = code(text).chars().collect();
    let mut at = 0;
    while let Some(start) = (at..chars.len()).find(|at| is_test_attribute(&chars[*at..])) {
        let end = item_end(&chars, start);
        for c in &mut chars[start..end] {
            if *c != '\n' {
                *c = ' ';
            }
        }
        at = end;
    }
    chars.into_iter().collect()
}

fn is_test_attribute(rest: &[char]) -> bool {
    ["#[cfg(test)]", "#[cfg(all(test,"]
        .iter()
        .any(|text| rest.iter().copied().take(text.len()).eq(text.chars()))
}

/// Where the item that begins at `start` ends: behind its body or its semicolon.
fn item_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0_i32;
    for (offset, c) in chars[start..].iter().enumerate() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(c, ';' | '}') {
            return start + offset + 1;
        }
    }
    chars.len()
}

/// Names of modules in files of their own that only tests have: `#[cfg(test)] mod name;`.
pub fn test_modules(text: &str) -> Vec<String> {
    let chars: Vec<char> = code(text).chars().collect();
    let items = (0..chars.len())
        .filter(|at| is_test_attribute(&chars[*at..]))
        .map(|at| &chars[at..item_end(&chars, at)]);
    items
        .filter_map(|item| {
            let at = words(item, "mod").next()?;
            let rest: String = item[at + "mod".len()..].iter().collect();
            rest.strip_suffix(';').map(|name| name.trim().to_owned())
        })
        .collect()
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// Line of `fn`, from 1.
    pub line: usize,
    /// From the line of `fn` to the line of the closing brace.
    pub lines: usize,
}

/// Functions in `code`, nested ones too.
pub fn functions(code: &str) -> Vec<Function> {
    let chars: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    for at in words(&chars, "fn") {
        let name: String =
            chars[at + 2..].iter().skip_while(|c| c.is_whitespace()).take_while(|c| is_word(**c)).collect();
        let end = item_end(&chars, at);
        if name.is_empty() || chars.get(end.wrapping_sub(1)) != Some(&'}') {
            continue;
        }
        let lines = chars[at..end].iter().filter(|c| **c == '\n').count() + 1;
        found.push(Function { name, line: line_of(&chars, at), lines });
    }
    found
}

/// Places where `word` stands as a whole word.
pub fn words<'a>(chars: &'a [char], word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let length = word.chars().count();
    (0..chars.len()).filter(move |at| {
        (*at == 0 || !is_word(chars[at - 1]))
            && chars[*at..].iter().copied().take(length).eq(word.chars())
            && chars.get(at + length).is_none_or(|c| !is_word(*c))
    })
}

/// Line of a place, from 1.
pub fn line_of(chars: &[char], at: usize) -> usize {
    chars[..at].iter().filter(|c| **c == '\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_not_code() {
        let text =
            "a // b\n/* c /* d */ e */ f \"g\\\" h\" i r#\"j\" k\"# l b\"m\" 'n' '\\'' 'o: &'o str br\"p\" q";
        assert_eq!(code(text).split_whitespace().collect::<Vec<_>>().join(" "), "a f i l b 'o: &'o str q");
        assert_eq!(code(text).chars().count(), text.chars().count());
        assert_eq!(code("for_r\"x\" y").trim(), "for_r    y");
        assert_eq!(code("\"open\n").len(), 6);
    }

    #[test]
    fn tests_are_not_code_either() {
        let text = "use a;\n#[cfg(test)]\n#[path = \"x\"]\nmod tests {\n fn b() { [1] }\n}\nfn c() {}\n#[cfg(test)]\nmod d;\ne";
        let words = code_without_tests(text);
        assert_eq!(words.split_whitespace().collect::<Vec<_>>().join(" "), "use a; fn c() {} e");
        assert_eq!(test_modules(text), ["d"]);
    }

    #[test]
    fn functions_are_measured() {
        let text = "trait T { fn a(&self) -> [u8; 2]; }\nfn b<'a>(x: fn(u8)) -> [u8; 2]\nwhere\n{\n  fn c() {}\n  '{';\n}\n";
        let found = functions(&code(text));
        let b = Function { name: "b".into(), line: 2, lines: 6 };
        assert_eq!(found, [b, Function { name: "c".into(), line: 5, lines: 1 }]);
    }
}
