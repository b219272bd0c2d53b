use std::convert::Infallible;

use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
};

use super::*;
use crate::server::reply::Body;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn reply(link: &Link, request: Request<Incoming>) -> Response<Body> {
    let unread = !hyper::body::Body::is_end_stream(request.body());
    let bytes = match request.uri().path() {
        "/slow" => {
            sleep(seconds(300)).await;
            Bytes::from_static(b"late")
        }
        "/large" => Bytes::from(vec![b'x'; 100_000]),
        _ => Bytes::from_static(b"here"),
    };
    link.answer(unread);
    Response::new(Body::Whole(bytes))
}

/// A connection with the default patience over a pipe that holds 1 KiB.
fn connect() -> (DuplexStream, JoinHandle<(Option<u16>, bool)>) {
    let (client, server) = duplex(1024);
    let task = tokio::spawn(async move {
        let patience = Patience { header: seconds(10), idle: seconds(90), write: seconds(60) };
        let refusals = Arc::new(Refusals {
            timeout: Bytes::from_static(b"our 408"),
            malformed: Bytes::from_static(b"our 400"),
            large: Bytes::from_static(b"our 431"),
            full: Bytes::new(),
        });
        let link = Arc::new(Link::default());
        let guard = Guard::new(server, patience, refusals, Arc::clone(&link));
        let service = service_fn(|request| {
            link.serve();
            async { Ok::<_, Infallible>(reply(&link, request).await) }
        });
        let mut http = http1::Builder::new();
        let ended =
            http.max_buf_size(16 * 1024).serve_connection(TokioIo::new(guard), service).await;
        (link.refused(), ended.is_ok())
    });
    (client, task)
}

async fn read_to(client: &mut DuplexStream, end: &str) {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        assert_ne!(
            client.read_buf(&mut read).await.unwrap(),
            0,
            "{}",
            String::from_utf8_lossy(&read)
        );
    }
}

async fn rest(client: &mut DuplexStream) -> String {
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    rest
}

/// Sends a letter of a request, which has ten seconds to go on.
async fn begin_a_head_and_stop(mut client: DuplexStream, task: JoinHandle<(Option<u16>, bool)>) {
    let begun = Instant::now();
    client.write_all(b"G").await.unwrap();
    assert_eq!(rest(&mut client).await, "our 408");
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(task.await.unwrap().0, Some(408));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_idle() {
    let begun = Instant::now();
    let (mut client, _task) = connect();
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(begun.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn idleness_counts_from_the_last_reply() {
    let (mut client, _task) = connect();
    for _ in 0..3 {
        sleep(seconds(80)).await;
        client.write_all(REQUEST).await.unwrap();
        read_to(&mut client, "here").await;
    }
    let begun = Instant::now();
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(begun.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_dribbles_is_told_so() {
    let (client, task) = connect();
    let (mut from, mut to) = tokio::io::split(client);
    sleep(seconds(70)).await;
    let begun = Instant::now();
    let dribble = tokio::spawn(async move {
        for byte in REQUEST {
            if to.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(seconds(3)).await;
        }
    });
    let mut told = String::new();
    from.read_to_string(&mut told).await.unwrap();
    assert_eq!((told.as_str(), begun.elapsed().as_secs()), ("our 408", 10));
    assert_eq!(task.await.unwrap(), (Some(408), false));
    dribble.abort();
}

#[tokio::test(start_paused = true)]
async fn the_second_head_has_its_own_time() {
    let (mut client, task) = connect();
    client.write_all(REQUEST).await.unwrap();
    read_to(&mut client, "here").await;
    sleep(seconds(60)).await;
    client.write_all(&REQUEST[..9]).await.unwrap();
    sleep(seconds(9)).await;
    client.write_all(&REQUEST[9..]).await.unwrap();
    read_to(&mut client, "here").await;
    begin_a_head_and_stop(client, task).await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_in_the_making_has_no_limit() {
    let (mut client, _task) = connect();
    client.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_to(&mut client, "late").await;
    let begun = Instant::now();
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(begun.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_dropped() {
    let (mut client, task) = connect();
    let begun = Instant::now();
    client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(!task.await.unwrap().1);
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_is_not() {
    let (mut client, task) = connect();
    client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut read = Vec::new();
    while client.read_buf(&mut read).await.unwrap() > 0 {
        sleep(seconds(50)).await;
    }
    assert!(read.len() > 100_000 && read.ends_with(b"xxx"));
    assert_eq!(task.await.unwrap(), (None, true));
}

#[tokio::test(start_paused = true)]
async fn what_hyper_refuses_is_said_in_our_words() {
    let large = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(20_000));
    for (head, words, status) in [("what?\r\n\r\n", "our 400", 400), (&large, "our 431", 431)] {
        let (client, task) = connect();
        let (mut from, mut to) = tokio::io::split(client);
        let head = head.as_bytes().to_vec();
        let sent = tokio::spawn(async move { to.write_all(&head).await });
        let mut told = String::new();
        from.read_to_string(&mut told).await.unwrap();
        assert_eq!(told, words);
        sent.await.unwrap().unwrap();
        drop(from);
        assert_eq!(task.await.unwrap().0, Some(status));
    }
}

#[tokio::test(start_paused = true)]
async fn refused_after_a_good_request() {
    let (mut client, task) = connect();
    client.write_all(REQUEST).await.unwrap();
    read_to(&mut client, "here").await;
    client.write_all(b"what?\r\n\r\n").await.unwrap();
    read_to(&mut client, "our 400").await;
    assert_eq!(task.await.unwrap().0, Some(400));
}

#[tokio::test(start_paused = true)]
async fn http2_is_shown_the_door() {
    let (mut client, task) = connect();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut client).await, "");
    assert!(!task.await.unwrap().1);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_body_does_not_destroy_the_reply() {
    let (client, task) = connect();
    let (mut from, mut to) = tokio::io::split(client);
    to.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n").await.unwrap();
    // The whole body leaves, though nobody wanted it, before the reply is read.
    to.write_all(&vec![0; 200_000]).await.unwrap();
    let mut reply = String::new();
    from.read_to_string(&mut reply).await.unwrap();
    assert!(reply.ends_with("here"), "{reply}");
    let begun = Instant::now();
    assert_eq!(task.await.unwrap().0, None);
    assert!(begun.elapsed() <= LINGER.0);
}

#[tokio::test(start_paused = true)]
async fn a_head_after_an_abandoned_body_has_its_own_time() {
    let (mut client, task) = connect();
    client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc").await.unwrap();
    read_to(&mut client, "here").await;
    begin_a_head_and_stop(client, task).await;
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let (mut client, _task) = connect();
    client
        .write_all(&[REQUEST, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n", REQUEST].concat())
        .await
        .unwrap();
    for end in ["here", "late", "here"] {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            read.push(client.read_u8().await.unwrap());
        }
    }
}
