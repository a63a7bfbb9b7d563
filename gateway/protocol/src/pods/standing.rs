//! Where a broker shard and some channels stand, in the order of the publications around it.

use super::read::Reader;
use super::{Malformed, Place, STANDING};

/// Where a broker shard and some channels stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The shard's epoch.
    pub epoch: u64,
    /// Of the last publication.
    pub sequence: u64,
    /// When the epoch began: milliseconds of the broker's clock.
    pub since: u64,
    /// Of the question that this answers; 0: nobody asked.
    pub nonce: u64,
    /// Of the channels that were asked for, in their order.
    pub places: Vec<Place>,
}

/// Reads a standing.
///
/// # Errors
/// [`Malformed`].
pub fn standing(bytes: &[u8]) -> Result<Standing, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != STANDING {
        return Err(Malformed::Unknown);
    }
    let (epoch, sequence, since, nonce) = (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
    let places = usize::from(reader.u16()?);
    if reader.left() != places * 16 {
        return Err(Malformed::Invalid);
    }
    let place = |reader: &mut Reader<'_>| Ok(Place { salt: reader.u64()?, offset: reader.u64()? });
    let places = (0..places).map(|_| place(&mut reader)).collect::<Result<_, _>>()?;
    Ok(Standing { epoch, sequence, since, nonce, places })
}
