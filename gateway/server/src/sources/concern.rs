//! Which channels a source may feed, read from its templates: whom a gap of the source concerns.

use rtgw_config::checked::{Channel, PublishChannels, PublishRule};
use rtgw_config::pattern::{Pattern, Segment};
use rtgw_config::template::{Part, Template};
use rtgw_hub::GapScope;
use rtgw_model::RuleIx;

/// The channel rules under which `publish` can bring a publication. An expression that gives a list may give anything.
pub fn concerned(publish: &[PublishRule], channels: &[Channel]) -> GapScope {
    let mut rules: Vec<RuleIx> = Vec::new();
    for rule in publish {
        match &rule.channels {
            PublishChannels::From(_) => return GapScope::All,
            PublishChannels::List(templates) => {
                rules.extend(templates.iter().flat_map(|template| reached(template, channels)));
            }
        }
    }
    rules.sort_unstable();
    rules.dedup();
    GapScope::Rules(rules.into())
}

/// The rules that can be the first to fit a name of `template`.
pub fn reached(template: &Template, channels: &[Channel]) -> Vec<RuleIx> {
    let shapes = shapes(template);
    let mut reached = Vec::new();
    for (rule, channel) in (0..).zip(channels) {
        match fit(&shapes, &channel.pattern) {
            Fit::Never => {}
            Fit::Sometimes => reached.push(RuleIx(rule)),
            Fit::Always => {
                reached.push(RuleIx(rule));
                break;
            }
        }
    }
    reached
}

/// One segment of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shape {
    /// Text before the first expression; the whole segment where there is none.
    start: String,
    /// Text behind the last expression.
    end: Option<String>,
}

/// Values of expressions are percent-encoded, so only the template's own text can begin a new segment.
fn shapes(template: &Template) -> Vec<Shape> {
    let mut shapes = vec![Shape::default()];
    for part in &template.parts {
        let last = shapes.len() - 1;
        match part {
            Part::Expression(_) => shapes[last].end = Some(String::new()),
            Part::Text(text) => {
                for (index, piece) in text.split(':').enumerate() {
                    if index > 0 {
                        shapes.push(Shape::default());
                    }
                    let last = shapes.len() - 1;
                    let Shape { start, end } = &mut shapes[last];
                    end.as_mut().unwrap_or(start).push_str(piece);
                }
            }
        }
    }
    shapes
}

/// How a template's names fit a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Never,
    Sometimes,
    Always,
}

fn fit(shapes: &[Shape], pattern: &Pattern) -> Fit {
    let mut fit = Fit::Always;
    let mut left = shapes.iter();
    for segment in pattern.segments() {
        let Some(shape) = left.next() else { return Fit::Never };
        match (segment, &shape.end) {
            (Segment::Rest(_), _) => return fit,
            (Segment::Capture(_), _) => {}
            (Segment::Literal(literal), None) if *literal == shape.start => {}
            (Segment::Literal(literal), Some(end)) if between(literal, &shape.start, end) => {
                fit = Fit::Sometimes;
            }
            (Segment::Literal(_), _) => return Fit::Never,
        }
    }
    if left.next().is_some() { Fit::Never } else { fit }
}

fn between(literal: &str, start: &str, end: &str) -> bool {
    literal.strip_prefix(start).is_some_and(|rest| rest.ends_with(end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use rtgw_config::expression::Expression;

    use super::*;

    fn channels(patterns: &[&str]) -> Vec<Channel> {
        let yes = Expression::compile("true").unwrap();
        let channel = |text: &&str| Channel {
            pattern: Pattern::parse(text).unwrap(),
            subscribe: yes.clone(),
            publish: yes.clone(),
            filters: BTreeMap::new(),
            delivery: Default::default(),
            history: None,
            presence: None,
            asked_tags: Default::default(),
        };
        patterns.iter().map(channel).collect()
    }

    fn rule(channels: PublishChannels) -> PublishRule {
        PublishRule {
            when: None,
            channels,
            event: None,
            data: None,
            tags: BTreeMap::new(),
            timestamp: None,
            priority: None,
            idempotency_key: None,
        }
    }

    fn of(template: &str, patterns: &[&str]) -> Vec<u16> {
        let list = PublishChannels::List(vec![Template::parse(template).unwrap()]);
        let GapScope::Rules(rules) = concerned(&[rule(list)], &channels(patterns)) else {
            return vec![u16::MAX];
        };
        rules.iter().map(|rule| rule.0).collect()
    }

    #[test]
    fn a_literal_concerns_the_rule_it_falls_under() {
        assert_eq!(of("jobs", &["other", "jobs", "{any}"]), [1]);
        assert_eq!(of("jobs:a", &["jobs", "jobs:{id}", "jobs:{rest*}"]), [1]);
        assert_eq!(of("jobs:a:b", &["jobs", "jobs:{id}", "jobs:{rest*}"]), [2]);
        assert_eq!(of("jobs", &["jobs:{rest*}"]), [0; 0]);
    }

    #[test]
    fn an_expression_may_be_any_one_segment() {
        let patterns = ["workspace:admin", "workspace:{id}", "workspace:{id}:x", "{any*}"];
        assert_eq!(of("workspace:{msg.id}", &patterns), [0, 1]);
        assert_eq!(of("workspace:{msg.id}:x", &patterns), [2]);
        assert_eq!(of("workspace:{msg.id}:{msg.kind}", &patterns), [2, 3]);
        assert_eq!(of("{msg.kind}", &patterns), [3]);
        assert_eq!(of("{msg.kind}:{msg.id}", &patterns), [0, 1, 3]);
    }

    #[test]
    fn text_around_an_expression_narrows() {
        let patterns = ["v1-eu", "v1-us", "v2-eu", "{any}"];
        assert_eq!(of("v1-{msg.region}", &patterns), [0, 1, 3]);
        assert_eq!(of("v{msg.version}-eu", &patterns), [0, 2, 3]);
        assert_eq!(of("v1-{msg.a}{msg.b}s", &patterns), [1, 3]);
        assert_eq!(of("x{msg.a}", &patterns), [3]);
        assert_eq!(of("v1-eu{msg.a}v1-eu", &patterns), [3], "start and end do not overlap");
    }

    #[test]
    fn a_computed_list_concerns_everyone() {
        let list = PublishChannels::From(Expression::compile("[msg.channel]").unwrap());
        assert_eq!(concerned(&[rule(list)], &channels(&["a"])), GapScope::All);
    }
}
