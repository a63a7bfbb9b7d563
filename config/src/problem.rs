//! What is wrong with a configuration: where, what, and what to do about it.

use std::fmt;

/// Whether a problem refuses the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Refused.
    Error,
    /// Accepted, but hardly what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `spec.endpoints[0].path`, `Secret/chat-auth`, or `gateway.yaml:3:7` where the text could not be read.
    pub path: String,
    /// What is wrong, as the end of a sentence that the path begins.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Error or warning.
    pub severity: Severity,
}

impl Problem {
    /// Something that refuses the configuration.
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), hint: None, severity: Severity::Error }
    }

    /// Something that is accepted, but hardly what was meant.
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, message) }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Whether it refuses the configuration.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{kind}: {}: {}", self.path, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything found so far.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
    /// Places whose value is a stand-in.
    replaced: Vec<String>,
}

impl Problems {
    /// Adds one. What is already refused as a whole or in part is not refused again: the second complaint about the same
    /// place would only be about the stand-in that lets the rest be checked.
    pub fn add(&mut self, problem: Problem) {
        let known = |earlier: &Problem| earlier.is_error() && is_within(&earlier.path, &problem.path);
        let invented = |place: &String| is_within(&problem.path, place);
        if !self.found.iter().any(known) && !self.replaced.iter().any(invented) {
            self.found.push(problem);
        }
    }

    /// Adds one even where another complaint about the same place stands.
    pub fn also(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// The value at `path` is a stand-in from here on, so nothing in it is worth a complaint.
    pub fn replaced(&mut self, path: &str) {
        self.replaced.push(path.to_owned());
    }

    /// Whether there is an error at `path` or below it.
    pub fn touches(&self, path: &str) -> bool {
        self.found.iter().any(|one| one.is_error() && is_within(&one.path, path))
    }

    /// Whether nothing refuses the configuration.
    pub fn is_acceptable(&self) -> bool {
        !self.found.iter().any(Problem::is_error)
    }

    /// All of them: errors first, those of one place together, items of a list in their order.
    pub fn into_vec(mut self) -> Vec<Problem> {
        self.found.sort_by_cached_key(|problem| (problem.severity, in_order(&problem.path)));
        self.found
    }
}

impl Extend<Problem> for Problems {
    fn extend<T: IntoIterator<Item = Problem>>(&mut self, problems: T) {
        self.found.extend(problems);
    }
}

/// Whether `path` names `of` or something inside it.
fn is_within(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// `a[10].b` so that it sorts behind `a[9].b`.
fn in_order(path: &str) -> Vec<(usize, String)> {
    let parts = path.split(['.', '[', ']']).filter(|part| !part.is_empty());
    parts.map(|part| (part.parse().unwrap_or(usize::MAX), part.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_a_sentence() {
        let problem = Problem::error("spec.endpoints[0].path", "must begin with \"/\"").hint("write \"/ws\"");
        assert_eq!(
            problem.to_string(),
            "error: spec.endpoints[0].path: must begin with \"/\"\n  hint: write \"/ws\""
        );
        assert_eq!(Problem::warning("a", "b").to_string(), "warning: a: b");
    }

    #[test]
    fn what_is_refused_in_part_is_not_refused_again() {
        let mut problems = Problems::default();
        problems.also(Problem::error("a.b[0].c", "first"));
        for (path, kept) in
            [("a.b[0].c", false), ("a.b", false), ("a.b[0].cd", true), ("a.bc", true), ("a.b[1]", true)]
        {
            let mut each = Problems { replaced: vec!["x".into()], ..problems.clone() };
            each.add(Problem::error(path, "second"));
            assert_eq!(each.found.len() == 2, kept, "{path}");
            each.add(Problem::error("x[1].y", "about a stand-in"));
            assert_eq!(each.found.len() == 2, kept, "{path}");
        }
    }

    #[test]
    fn problems_stand_in_the_order_of_their_places() {
        let mut problems = Problems::default();
        for path in ["b", "a[10].x", "a[9].x"] {
            problems.add(Problem::error(path, ""));
        }
        problems.add(Problem::warning("aa", ""));
        let paths: Vec<String> = problems.into_vec().into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["a[9].x", "a[10].x", "b", "aa"]);
    }
}
