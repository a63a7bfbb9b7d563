//! A publication's body.

use rtgw_model::Publication;

/// A part of a publication is longer than the format can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the publication is too long")]
pub struct TooLarge;

/// Everything of a publication but what the broker gives it. `pod` is the pod of [`Publication::except`].
///
/// # Errors
/// [`TooLarge`]: a text of more than 255 bytes, or as many parts.
pub fn body(publication: &Publication, pod: u64) -> Result<Vec<u8>, TooLarge> {
    let mut out = Vec::with_capacity(128 + publication.data.len());
    let (priority, except) = (&publication.priority, publication.except);
    out.push(u8::from(priority.is_some()) | u8::from(except.is_some()) << 1);
    out.extend(publication.timestamp.0.to_be_bytes());
    out.push(length(publication.channels.len())?);
    for channel in &publication.channels {
        text(&mut out, channel.as_str())?;
    }
    text(&mut out, &publication.event)?;
    if let Some(priority) = priority {
        text(&mut out, priority)?;
    }
    if let Some(except) = except {
        out.extend(pod.to_be_bytes());
        out.extend(except.shard.to_be_bytes());
        out.extend(except.slot.to_be_bytes());
        out.extend(except.generation.to_be_bytes());
    }
    out.push(length(publication.tags.len())?);
    for (name, value) in &publication.tags {
        text(&mut out, name)?;
        text(&mut out, value)?;
    }
    out.extend_from_slice(&publication.data);
    Ok(out)
}

fn text(out: &mut Vec<u8>, text: &str) -> Result<(), TooLarge> {
    out.push(length(text.len())?);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn length(length: usize) -> Result<u8, TooLarge> {
    u8::try_from(length).map_err(|_| TooLarge)
}
