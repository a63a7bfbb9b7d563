//! A wire for tests: every frame is one line of text.

use bytes::Bytes;
use rtgw_model::{Close, Encoder, Event, Message, Publication, Variant};

/// Variant 0 is plain, variant 1 shows the channel, variant 2 numbers publications.
pub(crate) struct Lines;

pub(crate) const VARIANTS: u8 = 3;

impl Encoder for Lines {
    fn variants(&self) -> usize {
        usize::from(VARIANTS)
    }

    fn publication(&self, variant: Variant, publication: &Publication, channel: usize) -> Bytes {
        let data = String::from_utf8_lossy(&publication.data).into_owned();
        match variant.0 {
            1 => format!("pub {data} on {}\n", publication.channels[channel]).into(),
            _ => format!("pub {data}\n").into(),
        }
    }

    fn shows_channel(&self, variant: Variant) -> bool {
        variant.0 == 1
    }

    fn numbers(&self, variant: Variant) -> bool {
        variant.0 == 2
    }

    fn splice(&self, _: Variant, frame: &[u8], seq: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&frame[..frame.len() - 1]);
        out.extend_from_slice(format!(" seq {seq}\n").as_bytes());
    }

    fn join(&self, frames: &mut Vec<u8>, from: usize) {
        // A mark before what is joined: the client finds it inside a line where `from` is wrong.
        let lines = frames.split_off(from);
        if !lines.is_empty() {
            frames.extend_from_slice(b"+");
            frames.extend_from_slice(&lines);
        }
    }

    fn joins_alone(&self, frame: &[u8]) -> bool {
        frame.starts_with(b"pub")
    }

    fn message(&self, _: Variant, message: &Message) -> Bytes {
        let id = message.reply_to.as_deref().unwrap_or("-");
        let text = match &message.event {
            Event::Greeting(text) => String::from_utf8_lossy(text).into_owned(),
            Event::Subscribed { channel, position: None, recovered: None } => {
                format!("subscribed {id} {channel}")
            }
            Event::Subscribed { channel, position, recovered } => {
                let position = position.map_or("-".into(), |at| format!("{}@{}", at.offset, at.epoch));
                let recovered = recovered.map_or("-".into(), |recovered| recovered.to_string());
                format!("subscribed {id} {channel} {position} {recovered}")
            }
            Event::Unsubscribed { channel, reason } => {
                format!("unsubscribed {id} {channel} {}", reason.map_or("-", |reason| reason.as_str()))
            }
            Event::Refreshed { .. } => format!("refreshed {id}"),
            Event::TokenExpiring { in_ms } => format!("expiring {in_ms}"),
            Event::Pong => format!("pong {id}"),
            Event::Error(denied) => format!("error {id} {}", denied.code.as_str()),
            Event::Gap { channel, reason } => format!("gap {channel} {}", reason.as_str()),
            Event::Joined { channel, member } => format!("join {channel} {}", member.connection),
            Event::Left { channel, member } => format!("leave {channel} {}", member.connection),
            Event::Published { channel, .. } => format!("published {id} {channel}"),
            Event::Acknowledged(_) => format!("acknowledged {id}"),
            other => format!("other {id} {other:?}"),
        };
        format!("{text}\n").into()
    }

    fn ping(&self, _: Variant) -> Bytes {
        Bytes::from_static(b"ping\n")
    }

    fn pong(&self, _: Variant, _: &[u8]) -> Bytes {
        Bytes::from_static(b"wirepong\n")
    }

    fn close(&self, _: Variant, close: &Close) -> Bytes {
        format!("close {}\n", close.code.code()).into()
    }
}
