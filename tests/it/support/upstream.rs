//! An upstream that does exactly what a test tells it to, byte by byte, and records what it was sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::eventually;

/// A request as it came over the wire.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The head, from the method to the empty line.
    pub head: String,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Recorded {
    /// Method, target and version.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or("")
    }

    /// The target.
    pub fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or("")
    }

    /// Every value of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// The only value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "`{name}` stands {} times", all.len());
        all.first().copied()
    }
}

/// One step of an answer.
pub enum Step {
    /// Write these bytes.
    Write(Vec<u8>),
    /// Wait until the test says so.
    Wait(Arc<Notify>),
    /// Write `.0` bytes `.1` times.
    Repeat(Vec<u8>, usize),
    /// Close the connection with a reset.
    Reset,
    /// Close the connection.
    Close,
    /// Neither read nor close for so long, then read whatever comes and count it.
    Deaf(Duration),
    /// Never go on; ends when the gate closes the connection.
    Hang,
}

/// A whole answer of status 200 with a length.
pub fn ok(content_type: &str, body: &[u8]) -> Vec<Step> {
    answer("200 OK", &format!("content-type: {content_type}\r\n"), body)
}

/// A whole answer with a length; `headers` end in CRLF each.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<Step> {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    vec![Step::Write(bytes)]
}

/// The head of an event stream without a length.
pub fn stream_head() -> Step {
    Step::Write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
    )
}

/// One chunk.
pub fn chunk(data: &[u8]) -> Step {
    let mut bytes = format!("{:x}\r\n", data.len()).into_bytes();
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"\r\n");
    Step::Write(bytes)
}

/// The last chunk.
pub fn last_chunk() -> Step {
    Step::Write(b"0\r\n\r\n".to_vec())
}

type Script = dyn Fn(&Recorded) -> Vec<Step> + Send + Sync;

struct Shared {
    script: Box<Script>,
    answer_at_head: bool,
    recorded: Mutex<Vec<Recorded>>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    busy: AtomicUsize,
    late: AtomicUsize,
}

/// The upstream; its tasks end with the test's runtime.
pub struct Upstream {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Upstream {
    /// Answers every request as `script` says, after its whole body.
    pub async fn start(script: impl Fn(&Recorded) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::listen(Box::new(script), false).await
    }

    /// Streams begin, wait for `go` and end; other calls are answered at once.
    pub async fn waiting(go: &Arc<Notify>) -> Self {
        let go = Arc::clone(go);
        Self::start(move |request| {
            if !request.body.ends_with(b"\"stream\":true}") {
                return ok("application/json", b"{}");
            }
            vec![
                stream_head(),
                chunk(b"data: 1\n\n"),
                Step::Wait(Arc::clone(&go)),
                chunk(b"data: [DONE]\n\n"),
                last_chunk(),
            ]
        })
        .await
    }

    /// Answers as soon as a request's head is there and never reads its body.
    pub async fn start_early(script: impl Fn(&Recorded) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::listen(Box::new(script), true).await
    }

    async fn listen(script: Box<Script>, answer_at_head: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            answer_at_head,
            recorded: Mutex::default(),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&accepting)));
            }
        });
        Self { addr, shared }
    }

    /// The requests so far, without the gate's own look at the model list.
    pub fn requests(&self) -> Vec<Recorded> {
        let all = self.shared.recorded.lock().unwrap();
        all.iter()
            .filter(|request| !is_model_list(request))
            .cloned()
            .collect()
    }

    /// How often its price list was asked for.
    pub fn price_lists(&self) -> usize {
        let all = self.shared.recorded.lock().unwrap();
        all.iter().filter(|request| is_price_list(request)).count()
    }

    /// The only request so far.
    pub fn request(&self) -> Recorded {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().unwrap()
    }

    /// How many answers are under way.
    pub fn busy(&self) -> usize {
        self.shared.busy.load(Ordering::SeqCst)
    }

    /// Waits until no answer is under way.
    pub async fn idle(&self) {
        eventually("the upstream has no call left", || self.busy() == 0).await;
    }

    /// How many bytes were read after a [`Step::Deaf`].
    pub fn late(&self) -> usize {
        self.shared.late.load(Ordering::SeqCst)
    }

    /// How many connections were opened so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

/// The gate fetches each upstream's lists of models and of prices at its start, with no client behind it.
fn is_model_list(request: &Recorded) -> bool {
    let target = request.target();
    let is_list = target.ends_with("/models") || is_price_list(request);
    is_list && request.header("x-forwarded-for").is_none()
}

fn is_price_list(request: &Recorded) -> bool {
    request.target().ends_with("/models/list")
}

struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn in_(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    shared.accepted.fetch_add(1, Ordering::SeqCst);
    let _open = Counted::in_(&shared.open);
    let mut buffer = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut buffer).await else {
            return;
        };
        let mut request = Recorded {
            head,
            body: Vec::new(),
        };
        if !shared.answer_at_head {
            let Some(body) = read_body(&mut stream, &mut buffer, &request).await else {
                return;
            };
            request.body = body;
        }
        let steps = if is_model_list(&request) && is_price_list(&request) {
            ok("application/json", b"[]")
        } else if is_model_list(&request) {
            ok(
                "application/json",
                br#"{"object":"list","data":[{"id":"acme/model"},{"id":"acme/other"}]}"#,
            )
        } else {
            (shared.script)(&request)
        };
        shared.recorded.lock().unwrap().push(request);
        let _busy = Counted::in_(&shared.busy);
        if !play(&mut stream, steps, &shared.late).await || shared.answer_at_head {
            return;
        }
    }
}

/// Plays the steps; false when the connection is over.
async fn play(stream: &mut TcpStream, steps: Vec<Step>, late: &AtomicUsize) -> bool {
    for step in steps {
        let going = match step {
            Step::Write(bytes) => stream.write_all(&bytes).await.is_ok(),
            Step::Repeat(bytes, times) => {
                let mut going = true;
                for _ in 0..times {
                    going = going && stream.write_all(&bytes).await.is_ok();
                }
                going
            }
            Step::Wait(notify) => tokio::select! {
                () = notify.notified() => true,
                () = closed(stream) => false,
            },
            Step::Reset => {
                stream.set_zero_linger().unwrap();
                false
            }
            Step::Close => false,
            Step::Deaf(time) => {
                tokio::time::sleep(time).await;
                let mut piece = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut piece).await {
                    late.fetch_add(count, Ordering::SeqCst);
                }
                false
            }
            Step::Hang => {
                closed(stream).await;
                false
            }
        };
        if !going {
            return false;
        }
    }
    true
}

/// Resolves when the other side has closed.
async fn closed(stream: &mut TcpStream) {
    let mut byte = [0; 1];
    while matches!(stream.read(&mut byte).await, Ok(n) if n > 0) {}
}

async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            let head = std::mem::replace(buffer, rest);
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        more(stream, buffer).await?;
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(buffer).await {
        Ok(n) if n > 0 => Some(()),
        _ => None,
    }
}

async fn read_body(stream: &mut TcpStream, buffer: &mut Vec<u8>, request: &Recorded) -> Option<Vec<u8>> {
    if let Some(length) = request.header("content-length") {
        let length: usize = length.parse().unwrap();
        assert!(
            request.header("transfer-encoding").is_none(),
            "both framings: {}",
            request.head
        );
        while buffer.len() < length {
            more(stream, buffer).await?;
        }
        let rest = buffer.split_off(length);
        return Some(std::mem::replace(buffer, rest));
    }
    if request.header("transfer-encoding").is_none() {
        return Some(Vec::new());
    }
    let mut body = Vec::new();
    loop {
        let end = loop {
            match buffer.windows(2).position(|window| window == b"\r\n") {
                Some(end) => break end,
                None => more(stream, buffer).await?,
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&buffer[..end]).unwrap(), 16).unwrap();
        while buffer.len() < end + 2 + size + 2 {
            more(stream, buffer).await?;
        }
        body.extend_from_slice(&buffer[end + 2..end + 2 + size]);
        buffer.drain(..end + 2 + size + 2);
        if size == 0 {
            return Some(body);
        }
    }
}
