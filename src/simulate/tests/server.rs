//! Credentials, errors, counters and connections.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn a_credential_is_taken_from_three_headers_and_refused_in_the_words_of_the_surface() {
    let knobs = Knobs {
        key: Some("secret".to_owned()),
        ..Knobs::default()
    };
    let upstream = Upstream::start(knobs).await;
    let path = "/v1/chat/completions";
    for (name, value, status) in [
        ("authorization", "BEARER secret", 200),
        ("xi-api-key", "secret", 200),
        ("x-api-key", "secret", 200),
        ("x-api-key", "other", 403),
        ("accept", "*/*", 403),
    ] {
        let request = Request::post(path).header(name, value);
        let answer = upstream
            .send(request.body(chat().to_string().into()).unwrap())
            .await;
        assert_eq!(answer.status, status, "{name}");
    }
    let refused = upstream
        .post(path, &chat(), &[("x-sim-unauthorized", "401")])
        .await;
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.json(),
        json!({ "error": { "message": "Not authenticated" } })
    );
    let native = upstream
        .post("/v1/inference/a/b", &json!({ "input": "x" }), &[])
        .await;
    assert_eq!(
        native.json(),
        json!({ "detail": { "error": "Not authenticated" } })
    );
}

#[tokio::test]
async fn errors_come_as_asked_and_a_bad_knob_is_named() {
    let upstream = Upstream::start(Knobs::default()).await;
    for status in ["402", "422", "423", "429", "500", "503"] {
        let knobs = [("x-sim-status", status), ("x-sim-retry-after", "7")];
        let answer = upstream.post("/v1/chat/completions", &chat(), &knobs).await;
        assert_eq!(answer.status.as_str(), status);
        assert_eq!(answer.headers["retry-after"], "7");
        let list = answer.json()["detail"].is_array();
        assert_eq!(list, status == "422");
    }
    let bad = upstream
        .post("/v1/chat/completions", &chat(), &[("x-sim-nothing", "1")])
        .await;
    assert_eq!(bad.status, 400);
    assert!(bad.text().contains("nothing"));
    assert_eq!(upstream.simulator.requests()["cost_nano_usd"], 0);
}

#[tokio::test]
async fn padding_trailers_and_extra_headers_are_sent() {
    let upstream = Upstream::start(Knobs::default()).await;
    let path = "/v1/chat/completions";
    let large = upstream
        .post(path, &chat(), &[("x-sim-body-bytes", "1000000")])
        .await;
    assert_eq!(large.body.len(), 1_000_000);
    assert_eq!(large.headers["content-length"], "1000000");
    assert_eq!(large.json()["usage"]["completion_tokens"], 16);

    let knobs = [
        ("te", "trailers"),
        ("x-sim-trailer", "x-checksum: 1"),
        ("x-sim-header", "x-extra: 2"),
    ];
    let answer = upstream.post(path, &chat(), &knobs).await;
    assert_eq!(answer.headers["x-extra"], "2");
    assert_eq!(answer.trailers.unwrap()["x-checksum"], "1");
    let early = upstream
        .post(path, &chat(), &[("x-sim-early", "true"), ("x-sim-status", "429")])
        .await;
    assert_eq!(early.status, 429);
}

#[tokio::test]
async fn what_was_sent_is_shown_and_forgotten() {
    let upstream = Upstream::start(Knobs::default()).await;
    let body = chat();
    upstream.post("/v1/chat/completions?a=1", &body, &[]).await;
    let report = upstream.get("/_sim/requests").await.json();
    assert_eq!((&report["total"], &report["open"]), (&json!(1), &json!(0)));
    assert_eq!(report["by_model"][MODEL], 1);
    let request = &report["requests"][0];
    assert_eq!(
        (&request["method"], &request["query"]),
        (&json!("POST"), &json!("a=1"))
    );
    assert_eq!(request["body"], body.to_string());
    assert_eq!(
        (&request["body_length"], &request["body_complete"]),
        (&json!(body.to_string().len()), &json!(true))
    );
    assert_eq!(request["body_sha256"].as_str().unwrap().len(), 64);
    let forget = Request::delete("/_sim/requests").body(Full::default()).unwrap();
    assert_eq!(upstream.send(forget).await.status, 204);
    assert_eq!(upstream.simulator.requests()["total"], 0);
}

#[tokio::test]
async fn http_2_is_served_on_the_same_port() {
    let upstream = Upstream::start(Knobs::default()).await;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = Request::post(format!("http://{}/v1/chat/completions", upstream.address))
        .header("authorization", "Bearer k")
        .body(streamed().to_string().into())
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(b"data: [DONE]\n\n"));
    assert_eq!(
        upstream.simulator.requests()["requests"][0]["version"],
        "HTTP/2.0"
    );
}

#[tokio::test]
async fn the_server_ends_when_it_is_told_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let simulator = Simulator::new(Knobs::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(simulator.serve(listener, async move { drop(stopped.await) }));
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let url = format!("http://{address}/models/list");
    assert_eq!(client.get(url.parse().unwrap()).await.unwrap().status(), 200);
    stop.send(()).unwrap();
    tasks.join_next().await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// Sends these bytes as they are and reads until the connection ends.
async fn raw(upstream: &Upstream, bytes: &[u8]) -> (Vec<u8>, io::Result<usize>) {
    let mut stream = TcpStream::connect(upstream.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut read = Vec::new();
    let ended = stream.read_to_end(&mut read).await;
    (read, ended)
}

#[tokio::test]
async fn a_broken_connection_is_closed_or_reset() {
    let upstream = Upstream::start(Knobs::default()).await;
    let body = streamed().to_string();
    for (how, reset) in [("close", false), ("reset", true)] {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-api-key: k\r\nx-sim-abort-after: 1\r\n\
             x-sim-abort-with: {how}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let (read, ended) = raw(&upstream, format!("{head}{body}").as_bytes()).await;
        let kind = ended.err().map(|error| error.kind());
        assert_eq!(kind, reset.then_some(io::ErrorKind::ConnectionReset), "{how}");
        let read = String::from_utf8_lossy(&read).into_owned();
        assert!(!read.ends_with("0\r\n\r\n"), "{read}");
    }
}

#[tokio::test]
async fn an_upload_that_stops_half_way_is_written_down_as_far_as_it_came() {
    let upstream = Upstream::start(Knobs::default()).await;
    let mut stream = TcpStream::connect(upstream.address).await.unwrap();
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n12345";
    stream.write_all(head.as_bytes()).await.unwrap();
    upstream.until(|report| report["open"] == 1).await;
    drop(stream);
    upstream.until(|report| report["open"] == 0).await;
    let request = &upstream.simulator.requests()["requests"][0];
    assert_eq!(
        (&request["body"], &request["body_complete"]),
        (&json!("12345"), &json!(false))
    );
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_body() {
    let upstream = Upstream::start(Knobs::default()).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-api-key: k\r\nx-sim-early: true\r\n\
                expect: 100-continue\r\ncontent-length: 100\r\n\r\n";
    let (read, _) = raw(&upstream, head.as_bytes()).await;
    let read = String::from_utf8_lossy(&read);
    assert!(read.starts_with("HTTP/1.1 200 OK\r\n"), "{read}");
}

#[tokio::test]
async fn a_large_answer_is_never_held_whole() {
    let upstream = Upstream::start(Knobs::default()).await;
    let body = json!({ "model": "hexgrad/Kokoro-82M", "input": "Hi" });
    let request = Request::post(format!("http://{}/v1/audio/speech", upstream.address))
        .header("x-api-key", "k")
        .header("x-sim-body-bytes", "1099511627776")
        .body(Full::from(body.to_string()))
        .unwrap();
    let response = upstream.client.request(request).await.unwrap();
    assert_eq!(response.headers()["content-length"], "1099511627776");
    let mut body = response.into_body();
    let mut read = 0;
    while read < 10_000_000 {
        read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    drop(body);
    upstream.until(|report| report["vanished"] == 1).await;
}
