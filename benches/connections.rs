//! Connections: what a player notices of others who hold connections and do nothing with them.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    load::processor_seconds,
    memory::get,
    report::{Report, Target, Unit, ms, percentile},
    song::{ID, Song, setup},
    support::{Broker, Connection, Grant, Player, until},
};

pub const ABOUT: &str = "a player's 80 kB segment, 2000 times in a row on one connection: p99 with 500 connections that have sent half a \
    request's head and 100 that have asked for a segment of 80 kB a hundred times and read nothing, once the broker has come to rest with them; in turns with p99 without them";

/// Requests of the player in one turn. All of them fit well into `limits.header`.
const REQUESTS: usize = 2000;

/// Connections with half a head.
const HALF: usize = 500;

/// Connections that never read.
const DEAF: usize = 100;

pub fn run(report: &mut Report, runs: usize) {
    let upstream = Song::Mp3.upstream();
    let broker = setup(&upstream).start();
    let grant = broker.token(ID);
    Player::new(&broker, &grant).audio();
    let address = broker.address("main");
    let (mut beside, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let crowd: Vec<_> = (0..HALF)
            .map(|_| half(address))
            .chain((0..DEAF).map(|_| deaf(address, &grant)))
            .collect();
        // Until their sockets are full, those who never read are served like others.
        until("the broker rests", || is_at_rest(&broker));
        beside.push(p99(address, &grant));
        drop(crowd);
        until("the broker rests", || is_at_rest(&broker));
        alone.push(p99(address, &grant));
    }
    let what = "p99 of a segment beside 500 half heads and 100 who never read, and without them";
    report.ratio(what, Unit::Ms, &beside, &alone, Target::Shown);
}

/// Whether it takes no processor to speak of for a tenth of a second.
fn is_at_rest(broker: &Broker) -> bool {
    let before = processor_seconds(broker.pid());
    thread::sleep(Duration::from_millis(100));
    processor_seconds(broker.pid()) - before < 0.015
}

fn segment(address: SocketAddr, grant: &Grant) -> String {
    get(address, &format!("/hls/{}/a0-20.m4s", grant.rid), &grant.token)
}

fn half(address: SocketAddr) -> Connection {
    let mut connection = Connection::open(address).expect("a connection");
    connection.send("GET /hls/half HTTP/1.1\r\nhost: half\r\nx-half: ");
    connection
}

fn deaf(address: SocketAddr, grant: &Grant) -> Connection {
    let mut connection = Connection::open(address).expect("a connection");
    // Much more than the buffers of both sockets hold.
    connection.send(segment(address, grant).repeat(100));
    connection
}

/// The 99th percentile of a segment's time, in milliseconds.
fn p99(address: SocketAddr, grant: &Grant) -> f64 {
    let mut connection = Connection::open(address).expect("a connection");
    let request = segment(address, grant);
    let times: Vec<f64> = (0..REQUESTS)
        .map(|_| {
            let begun = Instant::now();
            connection.send(&request).reply().expect(200);
            ms(begun.elapsed())
        })
        .collect();
    percentile(&times, 99)
}
