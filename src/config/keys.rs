//! Which keys there are, and what a wrong one was meant to be.

use serde_yaml::{Mapping, Value};

use super::{Fault, units::shown};

/// Refuses a key of `tree` that `known` lacks, and a section where a value belongs or the reverse.
///
/// An empty section in `known` may hold anything.
pub(super) fn check(tree: &Mapping, known: &Mapping) -> Result<(), Fault> {
    check_below("", tree, known, known)
}

fn check_below(
    section: &str,
    tree: &Mapping,
    known: &Mapping,
    root: &Mapping,
) -> Result<(), Fault> {
    for (name, value) in tree {
        let Some(name) = name.as_str() else {
            return Err(Fault::new(section, "a key below this is not text; put it in quotes"));
        };
        let key = join(section, name);
        if known.is_empty() {
            continue;
        }
        match (known.get(name), value) {
            (None, _) => {
                let hint = hint(&key, root);
                return Err(Fault::new(
                    shown(&key).trim_matches('"'),
                    format!("unknown key; {hint}"),
                ));
            }
            (Some(_), Value::Null) => {}
            (Some(Value::Mapping(known)), Value::Mapping(tree)) => {
                check_below(&key, tree, known, root)?;
            }
            (Some(Value::Mapping(known)), _) => {
                return Err(Fault::new(key, section_expected(known)));
            }
            (Some(_), Value::Mapping(_)) => {
                return Err(Fault::new(key, "takes a value, not further keys"));
            }
            (Some(_), _) => {}
        }
    }
    Ok(())
}

fn section_expected(known: &Mapping) -> String {
    let names = known.keys().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    match names.as_str() {
        "" => "takes keys of your choice, indented below it".into(),
        _ => format!("takes no value but the keys {names}, indented below it"),
    }
}

/// The known key that `key` most likely was meant to be.
fn hint(key: &str, known: &Mapping) -> String {
    let mut all = Vec::new();
    collect("", known, &mut all);
    let last = |key: &str| key.rsplit('.').next().map(String::from);
    let nearest = all
        .iter()
        .map(|candidate| {
            let misplaced = last(candidate) == last(key);
            (if misplaced { 0 } else { distance(candidate, key) }, candidate)
        })
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, candidate)) if distance <= 1 + candidate.len() / 4 => {
            format!("did you mean {candidate}?")
        }
        _ => "hls.yaml in the repository lists all keys".into(),
    }
}

fn collect(section: &str, known: &Mapping, all: &mut Vec<String>) {
    for (name, value) in known {
        let key = join(section, name.as_str().unwrap_or_default());
        if let Value::Mapping(known) = value {
            collect(&key, known, all);
        }
        all.push(key);
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.into() } else { format!("{section}.{name}") }
}

/// Levenshtein's distance in characters, of which at most the first hundred count.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().take(100).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (above, b) in row.iter_mut().skip(1).zip(&b) {
            let change = diagonal + usize::from(a != *b);
            diagonal = *above;
            left = change.min(left + 1).min(*above + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("size", "szie", 2),
            ("é", "e", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
