//! What expressions about a client's command see.

use std::sync::OnceLock;

use cel::common::types::CelList;
use cel::common::value::CowVal;
use cel::context::VariableResolver;

use super::caller::CallerScope;
use super::scope::Scope;
use super::value::{self, Boxed};

/// Variables of an evaluation for one command: what a rule about its sender sees, and `event`, `data`, `args`.
#[derive(Debug)]
pub struct CommandScope<'a> {
    caller: CallerScope<'a>,
    event: &'a str,
    data: &'a str,
    value: OnceLock<Option<Boxed<'a>>>,
    args: OnceLock<Option<Boxed<'a>>>,
}

impl<'a> CommandScope<'a> {
    /// A scope for the command `event` of `caller` with `data`, which is JSON.
    pub fn new(caller: CallerScope<'a>, event: &'a str, data: &'a str) -> Self {
        Self { caller, event, data, value: OnceLock::new(), args: OnceLock::new() }
    }
}

impl VariableResolver for CommandScope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let parsed = || value::parse(self.data).ok();
        let made = match variable {
            "event" => return Some(CowVal::Owned(value::text(self.event))),
            "data" => self.value.get_or_init(parsed).as_ref()?,
            // A JSON message has one argument; Socket.IO has as many as the client likes.
            "args" => {
                let list = || parsed().map(|only| Box::new(CelList::from(vec![only])) as Boxed<'_>);
                self.args.get_or_init(list).as_ref()?
            }
            _ => return self.caller.resolve(variable),
        };
        Some(CowVal::Borrowed(made.as_ref()))
    }
}

impl Scope for CommandScope<'_> {
    fn raw(&self, variable: &str) -> Option<&str> {
        if variable == "data" { Some(self.data) } else { self.caller.raw(variable) }
    }
}
