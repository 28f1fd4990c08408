//! The sockets: who may connect, how long a head may take, how large it may be, and how it all ends.
//!
//! `axum::serve` sets no timer, so hyper's own header timeout would do nothing; here every connection has one. The
//! parser is given twice the bounds of the API, so that what is only somewhat too large gets a problem document from
//! [`super::guard`] and what is far too large gets hyper's bare 431.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use heddle_core::limits::Limits;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt as _;

/// Streams of one HTTP/2 connection.
const STREAMS: u32 = 128;
/// Streams that a client opened and reset before anybody looked at them.
const PENDING_RESETS: usize = 20;
/// How often an HTTP/2 peer is asked for life. An HTTP/1 connection that is silent between requests is closed when the
/// head of the next one does not come within `limits.header_read_ms`.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long answers that are under way may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// How long to wait when the process has no room for another socket.
const NO_ROOM: Duration = Duration::from_millis(50);

/// Whether the server is to end. A stream of events ends with it.
pub type Ending = watch::Receiver<bool>;

/// Until the server is to end.
pub async fn over(mut ending: Ending) {
    // A sender that is gone has ended, too.
    drop(ending.wait_for(|end| *end).await);
}

/// Accepts connections until `ending` turns true, then lets the answers under way end.
pub async fn serve(listener: TcpListener, router: Router, limits: Arc<Limits>, ending: Ending) {
    let connections = Arc::new(Connections::new(&limits));
    let builder = builder(&limits);
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(NO_ROOM).await;
                    continue;
                }
            },
            () = over(ending.clone()) => break,
        };
        let Some(place) = connections.admit(peer.ip()) else {
            tracing::debug!(%peer, "too many connections; this one is closed");
            continue;
        };
        let _ = stream.set_nodelay(true);
        let place = Place(Arc::new(place));
        let service = hyper::service::service_fn({
            let (router, place) = (router.clone(), place.clone());
            move |request| answer(router.clone(), request, (peer, place.clone()))
        });
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, error, "a connection ended badly");
            }
            drop(place);
        });
    }
    drop(listener);
    let ended = async {
        graceful.shutdown().await;
        connections.all_gone().await;
    };
    if tokio::time::timeout(LAST_ANSWERS, ended).await.is_err() {
        tracing::warn!("some answers did not end in time; their connections are closed");
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let head_bytes = (limits.header_bytes + limits.url_bytes) as usize * 2;
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_read_ms))
        .max_headers(limits.headers as usize * 2)
        .max_buf_size(head_bytes.max(8 * 1024))
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(PENDING_RESETS)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The right to the connection that a request came by, for what goes on with it after the answer.
#[derive(Clone)]
pub(super) struct Place(#[allow(dead_code, reason = "held, and given back when dropped")] Arc<Admitted>);

async fn answer(
    router: Router,
    request: hyper::Request<hyper::body::Incoming>,
    (peer, place): (SocketAddr, Place),
) -> Result<hyper::Response<Body>, Infallible> {
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    request.extensions_mut().insert(place);
    without_trailing_slash(&mut request);
    router.oneshot(request).await
}

/// `/v1/runs/` is `/v1/runs`.
fn without_trailing_slash(request: &mut Request) {
    let uri = request.uri();
    let path = uri.path();
    if path.len() < 2 || !path.ends_with('/') {
        return;
    }
    let trimmed = path.trim_end_matches('/');
    let path = if trimmed.is_empty() { "/" } else { trimmed };
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    // A path that was one before its last slash was cut is one still.
    if let Ok(target) = target.parse() {
        parts.path_and_query = Some(target);
        if let Ok(uri) = hyper::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

/// Counts connections, in all and from each address.
struct Connections {
    all: Arc<Semaphore>,
    most: u32,
    per_ip: usize,
    from: Mutex<HashMap<IpAddr, usize>>,
}

/// The right to one connection; given back when dropped.
struct Admitted {
    connections: Arc<Connections>,
    ip: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    fn new(limits: &Limits) -> Connections {
        Connections {
            all: Arc::new(Semaphore::new(limits.connections as usize)),
            most: limits.connections as u32,
            per_ip: limits.connections_per_ip as usize,
            from: Mutex::default(),
        }
    }
    /// Until every connection is closed, those that have become something else included.
    async fn all_gone(&self) {
        drop(self.all.acquire_many(self.most).await);
    }
    fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Admitted> {
        let permit = self.all.clone().try_acquire_owned().ok()?;
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let count = from.entry(ip).or_default();
        if *count >= self.per_ip {
            return None;
        }
        *count += 1;
        Some(Admitted { connections: self.clone(), ip, _permit: permit })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut from = self.connections.from.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = from.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                from.remove(&self.ip);
            }
        }
    }
}

/// Opens a socket to listen on.
///
/// # Errors
/// With the address and what to do.
pub async fn listen(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!(
                "`{address}` is in use; stop what listens there, or choose another: `--listen 127.0.0.1:0`"
            )
        }
        _ => anyhow::anyhow!("`{address}` cannot be listened on: {error}"),
    })?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}
