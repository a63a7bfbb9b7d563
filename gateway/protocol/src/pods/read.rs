//! Bytes to a stamp and a publication. Bounded by their length, and never trusted: whoever has the broker's password can write them.

use bytes::Bytes;
use rtgw_model::{
    CHANNELS, ChannelName, ConnectionId, EVENT_BYTES, Publication, PublicationId, TAG_BYTES, TAGS, Timestamp,
};
use smallvec::SmallVec;

use super::{Malformed, PUBLICATION, Place, Stamp};

/// Reads from the front.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Short)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A text with its length before it, of at most `most` bytes.
    fn text(&mut self, most: usize) -> Result<&'a str, Malformed> {
        let length = usize::from(self.byte()?);
        if length > most {
            return Err(Malformed::Invalid);
        }
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed::Invalid)
    }

    fn count(&mut self, most: usize) -> Result<usize, Malformed> {
        let count = usize::from(self.byte()?);
        if count > most { Err(Malformed::Invalid) } else { Ok(count) }
    }

    fn stamp(&mut self) -> Result<Stamp, Malformed> {
        if self.byte()? != PUBLICATION {
            return Err(Malformed::Unknown);
        }
        let id = PublicationId { epoch: self.u64()?, sequence: self.u64()? };
        let places = self.count(CHANNELS)?;
        let place =
            |reader: &mut Self| Ok((reader.byte()?, Place { salt: reader.u64()?, offset: reader.u64()? }));
        let places = (0..places).map(|_| place(self)).collect::<Result<_, _>>()?;
        Ok(Stamp { id, places })
    }
}

/// The stamp at the beginning of `bytes`; what is behind it is not looked at.
///
/// # Errors
/// [`Malformed`].
pub fn stamp(bytes: &[u8]) -> Result<Stamp, Malformed> {
    Reader::new(bytes).stamp()
}

/// A publication with its id and positions, and its stamp. A connection that must not hear it is kept where it is one of `pod`, which is
/// this one; that of another pod is nobody here.
///
/// # Errors
/// [`Malformed`].
pub fn publication(bytes: &Bytes, pod: u64) -> Result<(Publication, Stamp), Malformed> {
    let mut reader = Reader::new(bytes);
    let stamp = reader.stamp()?;
    let flags = reader.byte()?;
    if flags > 3 {
        return Err(Malformed::Invalid);
    }
    let timestamp = Timestamp(i64::from_be_bytes(reader.array()?));
    let channels = reader.count(CHANNELS)?;
    let mut names: SmallVec<[ChannelName; 1]> = SmallVec::with_capacity(channels);
    for _ in 0..channels {
        let name = ChannelName::parse(reader.text(usize::MAX)?).map_err(|_| Malformed::Invalid)?;
        if names.contains(&name) {
            return Err(Malformed::Invalid);
        }
        names.push(name);
    }
    let event = reader.text(EVENT_BYTES)?.into();
    let priority = if flags & 1 == 0 { None } else { Some(reader.text(EVENT_BYTES)?.into()) };
    let except = if flags & 2 == 0 { None } else { Some(except(&mut reader, pod)?) };
    let tags = reader.count(TAGS)?;
    let tag = |reader: &mut Reader<'_>| Ok((reader.text(TAG_BYTES)?.into(), reader.text(TAG_BYTES)?.into()));
    let tags = (0..tags).map(|_| tag(&mut reader)).collect::<Result<_, _>>()?;
    let data = bytes.slice(bytes.len() - reader.left()..);
    if names.is_empty() || std::str::from_utf8(&data).is_err() {
        return Err(Malformed::Invalid);
    }
    let mut positions = SmallVec::new();
    if !stamp.places.is_empty() {
        positions.resize(names.len(), None);
    }
    for (channel, place) in &stamp.places {
        let position = positions.get_mut(usize::from(*channel)).ok_or(Malformed::Invalid)?;
        *position = Some(place.position(stamp.id.epoch));
    }
    let publication = Publication {
        channels: names,
        event,
        data,
        timestamp,
        tags,
        id: Some(stamp.id),
        positions,
        priority,
        except: except.flatten(),
    };
    Ok((publication, stamp))
}

fn except(reader: &mut Reader<'_>, own: u64) -> Result<Option<ConnectionId>, Malformed> {
    let pod = reader.u64()?;
    let id = ConnectionId { shard: reader.u16()?, slot: reader.u32()?, generation: reader.u32()? };
    Ok((pod == own).then_some(id))
}
