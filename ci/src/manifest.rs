//! The dependency lines of a `Cargo.toml`, with their line numbers.
//! A line reader and not a TOML parser: findings name lines, and the house style is one dependency a line.

/// One dependency as a manifest names it.
#[derive(Debug, PartialEq, Eq)]
pub struct Dependency<'a> {
    pub name: &'a str,
    pub line: usize,
    /// What stands between the brackets of its section.
    pub section: &'a str,
    /// What follows the name, with the comment.
    pub rest: &'a str,
}

impl Dependency<'_> {
    /// For tests, examples and benches only.
    pub fn is_dev(&self) -> bool {
        self.section.contains("dev-dependencies")
    }

    /// Only in the second ring of simulation.
    pub fn is_madsim(&self) -> bool {
        self.section.contains("cfg(madsim)")
    }

    /// Takes its version from the workspace table.
    pub fn is_from_workspace(&self) -> bool {
        let value = without_comment(self.rest).replace(' ', "");
        value.contains("workspace=true")
    }

    /// The comment on its line.
    pub fn comment(&self) -> &str {
        self.rest[without_comment(self.rest).len()..].trim_start_matches('#').trim()
    }
}

/// Dependencies of all sections whose name ends in `dependencies`, and of the workspace table.
pub fn dependencies(text: &str) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    let mut section = "";
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            section = header.split(']').next().unwrap_or(header);
            // `[dependencies.name]`: the name is in the header.
            if let Some((before, name)) = section.rsplit_once("dependencies.") {
                let section = &section[..before.len() + "dependencies".len()];
                found.push(Dependency { name, line: at + 1, section, rest: "" });
            }
        } else if section.ends_with("dependencies") {
            let end = line
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
                .unwrap_or(line.len());
            let (name, rest) = line.split_at(end);
            if !name.is_empty() && without_comment(rest).contains('=') {
                found.push(Dependency { name, line: at + 1, section, rest });
            }
        }
    }
    found
}

/// The part of a line before its comment.
pub fn without_comment(line: &str) -> &str {
    before(line, '#')
}

/// The part of a line before a mark that does not stand in a string.
pub fn before(line: &str, mark: char) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, c) if c == mark => return &line[..at],
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_all_sections() {
        let text = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true # why\n# b = \"1\"\n\
                    [dev-dependencies]\nc = { workspace = true }\n[target.'cfg(madsim)'.dependencies]\nd = \"1#2\"\n\
                    [dependencies.e]\nversion = \"1\"\n[lints]\nworkspace = true\n";
        let found = dependencies(text);
        let names: Vec<(&str, usize, bool)> =
            found.iter().map(|found| (found.name, found.line, found.is_from_workspace())).collect();
        assert_eq!(names, [("a", 4, true), ("c", 7, true), ("d", 9, false), ("e", 10, false)]);
        assert_eq!((found[0].comment(), found[2].comment()), ("why", ""));
        assert!(found[1].is_dev() && found[2].is_madsim() && !found[0].is_dev() && !found[0].is_madsim());
    }
}
