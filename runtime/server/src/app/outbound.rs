//! Requests of plugins: one on a connection of its own, judged like everything that leaves. No redirect is followed, no
//! proxy asked, nothing unpacked; what comes back is read up to its bounds and no further.

use crate::egress::{Dialer, NoWay};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use heddle_core::limits::Limits;
use heddle_core::outcome::FailureKind;
use heddle_core::outside::{HttpFault, HttpFaultKind, HttpResponse, Prepared};
use heddle_executor::Outbound;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderMap};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Position;

/// Sends requests over the web.
#[derive(Debug)]
pub(crate) struct Requests {
    pub(crate) dialer: Dialer,
    pub(crate) limits: Arc<Limits>,
}

impl Outbound for Requests {
    fn send(&self, request: Prepared) -> BoxFuture<'static, Result<HttpResponse, HttpFault>> {
        let (dialer, limits) = (self.dialer.clone(), self.limits.clone());
        Box::pin(async move {
            let most = request.timeout;
            Box::pin(within(most, "the request is not over", send(&dialer, &limits, request))).await
        })
    }
}

fn failed(message: impl Into<String>) -> HttpFault {
    HttpFault::new(HttpFaultKind::Failed, message)
}

impl From<NoWay> for HttpFault {
    fn from(fault: NoWay) -> HttpFault {
        let kind = match fault.kind {
            FailureKind::EgressDenied => HttpFaultKind::Denied,
            _ => HttpFaultKind::Failed,
        };
        HttpFault::new(kind, fault.message)
    }
}

/// The same, unless it takes longer.
async fn within<T>(
    most: Duration,
    what: &str,
    work: impl Future<Output = Result<T, HttpFault>>,
) -> Result<T, HttpFault> {
    timeout(most, work).await.unwrap_or_else(|_| {
        let message = format!("{what} after {} ms", most.as_millis());
        Err(HttpFault::new(HttpFaultKind::TimedOut, message))
    })
}

async fn send(dialer: &Dialer, limits: &Limits, request: Prepared) -> Result<HttpResponse, HttpFault> {
    let host = request.url.host().map(|host| host.to_owned());
    let (Some(host), Some(port)) = (host, request.url.port_or_known_default()) else {
        return Err(failed("the address names no host"));
    };
    let connect = Duration::from_millis(limits.http_connect_ms);
    let stream = within(connect, "no connection", async { Ok(dialer.dial(&host, port).await?) }).await?;
    match request.url.scheme() {
        "https" => {
            let encrypted = async { Ok(dialer.encrypt(&host, stream).await?) };
            exchange(within(connect, "no encrypted connection", encrypted).await?, limits, request).await
        }
        _ => exchange(stream, limits, request).await,
    }
}

async fn exchange<S>(stream: S, limits: &Limits, request: Prepared) -> Result<HttpResponse, HttpFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| match error.is_parse_too_large() {
        true => HttpFault::new(HttpFaultKind::TooLarge, "the head of the answer is larger than allowed"),
        false => failed(format!("the connection broke: {error}")),
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(limits.http_headers as usize)
        .max_buf_size(limits.http_header_bytes as usize)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // It ends with this function, whatever else the other side has to say.
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let url = &request.url;
    let mut head = Request::builder()
        .method(request.method.as_str())
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(CONNECTION, "close");
    for (name, value) in &request.headers {
        head = head.header(name, value);
    }
    let asked = head
        .body(Full::new(Bytes::from(request.body)))
        .map_err(|error| HttpFault::new(HttpFaultKind::Invalid, format!("it is no request: {error}")))?;
    let first = Duration::from_millis(limits.http_first_byte_ms);
    let answered = async { sender.send_request(asked).await.map_err(broken) };
    let answer = within(first, "no answer", answered).await?;
    read(answer, limits).await
}

/// The answer, as far as it may go.
async fn read(answer: Response<hyper::body::Incoming>, limits: &Limits) -> Result<HttpResponse, HttpFault> {
    let most = limits.http_response_bytes as usize;
    let too_large = || {
        let message = format!("the answer has more than {most} bytes (`limits.http_response_bytes`)");
        Err(HttpFault::new(HttpFaultKind::TooLarge, message))
    };
    // What the body will have, and not what a header says: the answer to a `HEAD` has none.
    if answer.body().size_hint().lower() > most as u64 {
        return too_large();
    }
    let (status, headers) = (answer.status().as_u16(), texts(answer.headers()));
    let (mut body, mut incoming) = (Vec::new(), answer.into_body());
    let idle = Duration::from_millis(limits.http_idle_ms);
    loop {
        let next = async { Ok(incoming.frame().await) };
        let Some(frame) = within(idle, "nothing more came", next).await? else { break };
        let frame = frame.map_err(|error| failed(format!("the answer broke off: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        if body.len() + data.len() > most {
            return too_large();
        }
        body.extend_from_slice(data);
    }
    Ok(HttpResponse { status, headers, body })
}

/// The headers that are text.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        Some((name.as_str().to_owned(), String::from_utf8(value.as_bytes().to_vec()).ok()?))
    };
    headers.iter().filter_map(text).collect()
}
