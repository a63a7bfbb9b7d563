//! "Did you mean": the nearest of the names that would have been right.

/// A sentence that names the nearest of `known`, or all of them where none is near and the list is short.
pub fn one_of<S: AsRef<str>>(wrong: &str, known: &[S]) -> String {
    match nearest(wrong, known.iter().map(AsRef::as_ref)) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "there is none".into(),
        None if known.len() > 24 => "see docs/reference/manifest.md".into(),
        None => {
            let names: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
            format!("one of: {}", names.join(", "))
        }
    }
}

/// The nearest name, if it is near enough that a slip explains the difference.
pub fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Distance is quadratic; nobody mistypes a text as long as this.
    if wrong.is_empty() || wrong.len() > 64 {
        return None;
    }
    let lower = wrong.to_lowercase();
    let slips = 1 + lower.len() / 4;
    known
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .filter(|(steps, _)| *steps <= slips)
        .min_by_key(|(steps, _)| *steps)
        .map(|(_, name)| name)
}

/// Optimal string alignment: insertions, deletions, replacements and swapped neighbours each count one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &left) in a.iter().enumerate() {
        let mut next = vec![i + 1; b.len() + 1];
        for (j, &right) in b.iter().enumerate() {
            let replaced = row[j] + usize::from(left != right);
            let mut best = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && left == b[j - 1] && a[i - 1] == right {
                best = best.min(before[j - 1] + 1);
            }
            next[j + 1] = best;
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognized() {
        let known = ["claims", "user", "tenant", "connection"];
        for (wrong, right) in
            [("claim", "claims"), ("usre", "user"), ("Tenant", "tenant"), ("conection", "connection")]
        {
            assert_eq!(nearest(wrong, known.into_iter()), Some(right));
        }
        assert_eq!(nearest("msg", known.into_iter()), None);
        assert_eq!(one_of("msg", &known), "one of: claims, user, tenant, connection");
    }
}
