//! Who is said to hear channels: every join has one leave, and at rest it is those who do.

use std::collections::BTreeSet;
use std::sync::Arc;

use fastrand::Rng;
use rtgw_hub::{Input, Present};
use rtgw_model::{Announced, Arrival, ChannelName, ConnectionKey, Member, Presence, Timestamp};

use crate::client::Client;
use crate::lines::VARIANTS;
use crate::rules::Manifest;
use crate::world::World;

/// What the shard has said.
#[derive(Default)]
pub(crate) struct Roll(BTreeSet<(u128, String)>);

/// What is told to the shards of it.
type News = Option<Announced>;

impl Roll {
    fn present(&mut self, seed: u64, manifest: &Manifest, present: &Present) -> News {
        let fresh = self.0.insert((present.key.0, present.channel.to_string()));
        assert!(fresh, "seed {seed}: {} joined {} twice", present.key, present.channel);
        news(manifest, present.key, &present.channel, Arrival::Joined)
    }

    fn absent(&mut self, seed: u64, manifest: &Manifest, key: ConnectionKey, channel: &ChannelName) -> News {
        let known = self.0.remove(&(key.0, channel.to_string()));
        assert!(known, "seed {seed}: {key} left {channel} without having joined");
        news(manifest, key, channel, Arrival::Left)
    }

    /// At rest, under the last configuration: all who believe to hear a channel, and nobody else.
    pub(crate) fn judge(&self, seed: u64, manifest: &Manifest, clients: &[Client]) {
        let hears = |client: &Client| -> Vec<(u128, String)> {
            let known = client.view.iter().filter(|channel| manifest.presence_of(channel).is_on());
            known.map(|channel| (client.key.0, channel.clone())).collect()
        };
        let expected = clients.iter().filter(|client| client.is_open()).flat_map(hears);
        assert_eq!(self.0, expected.collect(), "seed {seed}: who hears what");
    }
}

fn news(
    manifest: &Manifest,
    connection: ConnectionKey,
    channel: &ChannelName,
    arrival: fn(Member) -> Arrival,
) -> News {
    let told = manifest.presence_of(channel.as_str()) == Presence::JoinLeave;
    let member = Member { connection, user: "".into(), info: "null".into() };
    let announced = || Announced::new(channel.clone(), arrival(member), Timestamp(0), usize::from(VARIANTS));
    told.then(announced)
}

impl World {
    pub(crate) fn arrives(&mut self, present: &Present) {
        let news = self.roll.present(self.seed, &self.manifest, present);
        self.announce(news);
    }

    pub(crate) fn goes(&mut self, key: ConnectionKey, channel: &ChannelName) {
        let news = self.roll.absent(self.seed, &self.manifest, key, channel);
        self.announce(news);
    }

    fn announce(&mut self, news: News) {
        if let Some(announced) = news {
            self.shard.handle(self.now, Input::Announced(Arc::new(announced)));
        }
    }
}

impl Client {
    /// Whether its next subscribe asks to be told who comes and goes.
    pub(crate) fn asks_to_be_told(&mut self, random: &mut Rng, channel: &str) -> bool {
        let asks = random.u8(0..4) == 0;
        if asks {
            self.told.insert(channel.to_owned());
        }
        asks
    }
}
