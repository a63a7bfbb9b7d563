//! What expressions about a source's message see.

use std::sync::OnceLock;

use cel::common::types::CelInt;
use cel::common::value::CowVal;
use cel::context::VariableResolver;

use super::cut;
use super::scope::Scope;
use super::value::{self, Boxed};

/// Where a message came from and what came with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// `source.channel`: the Redis channel's name.
    pub channel: &'a str,
    /// `source.params`: what the source's pattern captured.
    pub params: &'a [(&'a str, &'a str)],
    /// `headers`; empty for sources that have none.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Variables of an evaluation for one message; shared by all expressions of its rules, so nothing is parsed twice.
#[derive(Debug)]
pub(super) struct MessageScope<'a> {
    text: &'a str,
    origin: Origin<'a>,
    now: i64,
    json: OnceLock<Option<&'a str>>,
    msg: OnceLock<Option<Boxed<'a>>>,
    source: OnceLock<Boxed<'a>>,
    headers: OnceLock<Boxed<'a>>,
}

impl<'a> MessageScope<'a> {
    /// A scope for `text`; `now` in Unix seconds.
    pub(super) fn new(text: &'a str, origin: Origin<'a>, now: i64) -> Self {
        Self {
            text,
            origin,
            now,
            json: OnceLock::new(),
            msg: OnceLock::new(),
            source: OnceLock::new(),
            headers: OnceLock::new(),
        }
    }

    /// The message without space around it, if it is JSON.
    pub(super) fn json(&self) -> Option<&'a str> {
        *self.json.get_or_init(|| cut::whole(self.text))
    }

    /// `None` for JSON that is nested too deep to be converted: expressions about it fail, paths still lead into it.
    fn msg(&self) -> Option<Boxed<'a>> {
        match self.json() {
            Some(json) => value::parse(json).ok(),
            None => Some(value::text(self.text)),
        }
    }

    fn source(&self) -> Boxed<'a> {
        value::map([
            ("channel", value::text(self.origin.channel)),
            ("params", value::texts(self.origin.params)),
        ])
    }
}

impl VariableResolver for MessageScope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let made = match variable {
            "msg" => self.msg.get_or_init(|| self.msg()).as_ref()?,
            "raw" => return Some(CowVal::Owned(value::text(self.text))),
            "source" => self.source.get_or_init(|| self.source()),
            "headers" => self.headers.get_or_init(|| value::texts(self.origin.headers)),
            "now" => return Some(CowVal::owned(CelInt::from(self.now))),
            _ => return None,
        };
        Some(CowVal::Borrowed(made.as_ref()))
    }
}

impl Scope for MessageScope<'_> {
    fn raw(&self, variable: &str) -> Option<&str> {
        if variable == "msg" { self.json() } else { None }
    }
}
