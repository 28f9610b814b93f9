//! Tests of the simulated upstream over real connections.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

mod account;
mod routes;
mod server;
mod streams;

const MODEL: &str = "meta-llama/Meta-Llama-3.1-8B-Instruct";

/// A simulator on a free port, and a client for it.
struct Upstream {
    simulator: Arc<Simulator>,
    address: std::net::SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    _tasks: JoinSet<io::Result<()>>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// What came before the end or the break.
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    broken: bool,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The data of a stream's events, without `[DONE]`.
    fn events(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }
}

impl Upstream {
    async fn start(knobs: Knobs) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let simulator = Simulator::new(knobs);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&simulator).serve(listener, std::future::pending()));
        Self {
            simulator,
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
            _tasks: tasks,
        }
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> Answer {
        let path = request.uri().to_string();
        *request.uri_mut() = format!("http://{}{path}", self.address).parse().unwrap();
        let response = self.client.request(request).await.unwrap();
        let (head, mut body) = response.into_parts();
        let mut answer = Answer {
            status: head.status,
            headers: head.headers,
            body: Vec::new(),
            trailers: None,
            broken: false,
        };
        while let Some(frame) = body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => answer.body.extend_from_slice(&data),
                Ok(Err(frame)) => answer.trailers = frame.into_trailers().ok(),
                Err(_) => {
                    answer.broken = true;
                    break;
                }
            }
        }
        answer
    }

    async fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path)
            .header("authorization", "bearer k")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.to_string().into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("x-api-key", "k");
        self.send(request.body(Full::default()).unwrap()).await
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)], file: (&str, &[u8])) -> Answer {
        let mut body = Vec::new();
        for (name, value) in fields {
            let part = format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend(part.bytes());
        }
        let disposition = format!("form-data; name=\"{}\"; filename=\"f\"", file.0);
        body.extend(format!("--B\r\nContent-Disposition: {disposition}\r\n\r\n").bytes());
        body.extend(file.1);
        body.extend(b"\r\n--B--\r\n");
        let request = Request::post(path)
            .header("xi-api-key", "k")
            .header("content-type", "multipart/form-data; boundary=B");
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Looks until the counters are as wanted, for ten seconds at most.
    async fn until(&self, wanted: impl Fn(&Value) -> bool) {
        for _ in 0..2000 {
            if wanted(&self.simulator.requests()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{}", self.simulator.requests());
    }
}

fn chat() -> Value {
    json!({ "model": MODEL, "messages": [{ "role": "user", "content": "Hello!" }] })
}

fn streamed() -> Value {
    let mut body = chat();
    body["stream"] = json!(true);
    body
}

/// The cost that the journal has, in nano-dollars, next to one in dollars.
fn same_cost(report: &Value, dollars: &Value) -> bool {
    let nano = (dollars.as_f64().unwrap() * 1e9).ceil() as u64;
    report["cost_nano_usd"] == nano
}
