//! Answers who hears a channel, to clients by the channel's rule, and to programs.

use rtgw_hub::access::{self, Action, Asker};
use rtgw_model::{ChannelName, ConnectionKey, Denied, ErrorCode, Members};

use super::{Roster, trouble, within};
use crate::refusal::Refusal;

/// Most bytes of the members of a page, so that an answer fits a connection's queue: a page may be shorter than was asked for.
const PAGE_BYTES: usize = 64 * 1024;
/// What a member weighs besides its user and info.
const MEMBER_BYTES: usize = 96;

/// A question of a client.
pub struct Asked {
    /// Unchecked name.
    pub channel: Box<str>,
    /// Most members.
    pub limit: u32,
    /// Only members behind this one.
    pub after: Option<ConnectionKey>,
    /// The application lets it hear the channel, whatever the rule says.
    pub by_api: bool,
}

impl Roster {
    /// Answers a client.
    ///
    /// # Errors
    /// Those of the subscribe rule; `not_available` where the channel has no presence, or presence is away.
    pub async fn ask(&self, asked: Asked, asker: &Asker<'_>) -> Result<(ChannelName, Members), Denied> {
        let grant = {
            let rules = self.rules.load();
            if asked.by_api {
                access::by_api(&*rules, &asked.channel)
            } else {
                access::ask(&*rules, Action::Subscribe, &asked.channel, asker)
            }
        }?;
        let channel = grant.channel().clone();
        if !grant.policy().presence.is_on() {
            return Err(off());
        }
        let page = self.page(&channel, asked.after, asked.limit).await?;
        Ok((channel, page))
    }

    /// Answers a program, which may ask about every channel that has presence.
    ///
    /// # Errors
    /// 400 for an ill-formed name, 404 for a channel that no rule declares or that has no presence, 503 where presence is away.
    pub async fn show(
        &self,
        channel: &str,
        after: Option<ConnectionKey>,
        limit: u32,
    ) -> Result<Members, Refusal> {
        let grant = access::by_api(&*self.rules.load(), channel).map_err(|denied| {
            let status = if denied.code == ErrorCode::UnknownChannel { 404 } else { 400 };
            Refusal::new(status, denied.code.as_str(), denied.message)
        })?;
        let refused =
            |status: u16, denied: Denied| Refusal::new(status, denied.code.as_str(), denied.message);
        if !grant.policy().presence.is_on() {
            return Err(refused(404, off()));
        }
        self.page(grant.channel(), after, limit).await.map_err(|denied| refused(503, denied))
    }

    async fn page(
        &self,
        channel: &ChannelName,
        after: Option<ConnectionKey>,
        limit: u32,
    ) -> Result<Members, Denied> {
        let page = within(self.presence.page(channel, after, limit)).await.map_err(|error| {
            trouble(&error);
            Denied::new(ErrorCode::NotAvailable, "presence cannot be read now; try later")
        })?;
        Ok(fitting(page))
    }
}

fn off() -> Denied {
    Denied::new(ErrorCode::NotAvailable, "the channel has no presence")
}

/// As much of the page as fits, and at least one member.
fn fitting(mut page: Members) -> Members {
    let mut bytes = 0;
    let fits = page.members.iter().take_while(|member| {
        bytes += MEMBER_BYTES + member.user.len() + member.info.len();
        bytes <= PAGE_BYTES
    });
    let fits = fits.count().max(1);
    if fits < page.members.len() {
        page.members.truncate(fits);
        page.more = true;
    }
    page
}
