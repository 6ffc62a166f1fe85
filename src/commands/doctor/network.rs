//! Checks of the network: name resolution, addresses, proxy, TLS.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpStream;
use tokio::time::timeout;
use url::{Host, Url};

use super::certificate::{self, CertificateFacts};
use super::check::{Check, CheckName};
use super::report::Report;
use mcp_bridge_core::endpoint::{ConnectCause, Failure};
use mcp_bridge_net::http::{Family, NoProxy, Options, ProxySource, Route, bare, is_loopback};

/// Limit of name resolution.
const DNS_LIMIT: Duration = Duration::from_secs(5);

/// Limit of one connection attempt.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Limit of the handshake that shows a certificate.
const CERTIFICATE_LIMIT: Duration = Duration::from_secs(3);

/// Limit of addresses that are tried in each family.
const MOST_ADDRESSES: usize = 4;

/// Default port of a SOCKS proxy; the other schemes have their own.
const SOCKS_PORT: u16 = 1080;

/// A certificate that ends sooner is worth a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * SECONDS_A_DAY);

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// The way to the server, as far as it was found out.
#[derive(Debug)]
pub(super) struct NetworkRoute {
    route: Route,
    /// Address of the connection, at the server or at the proxy.
    reached: SocketAddr,
}

impl NetworkRoute {
    const fn is_proxied(&self) -> bool {
        matches!(self.route, Route::Proxy(..))
    }
}

/// Looks the server up and connects to it, or to the proxy before it.
pub(super) async fn reach(
    report: &mut Report<'_>,
    url: &Url,
    options: &Options,
) -> Result<NetworkRoute, &'static str> {
    let route = options.route(url);
    let (target, whose) = match &route {
        Route::Direct(_) => (url, ""),
        Route::Proxy(proxy, _) => (proxy, "the proxy "),
    };
    let addresses = resolve(report, target, whose, options).await?;
    let (v4, mut v6): (Vec<_>, Vec<_>) = addresses.iter().partition(|it| it.is_ipv4());
    if options.family == Family::Ipv4 {
        v6.clear();
    }
    let (v4, v6) = tokio::join!(connect(&v4), connect(&v6));
    let reached = [&v4, &v6].into_iter().find_map(FamilyConnections::reached);
    report.add(v4.check(CheckName::Ipv4, reached));
    report.add(v6.check(CheckName::Ipv6, reached));
    match reached {
        Some(reached) => Ok(NetworkRoute { route, reached }),
        None => Err("there is no connection"),
    }
}

async fn resolve(
    report: &mut Report<'_>,
    target: &Url,
    whose: &str,
    options: &Options,
) -> Result<Vec<SocketAddr>, &'static str> {
    const STOP: &str = "the name has no address";
    let port = target.port_or_known_default().unwrap_or(SOCKS_PORT);
    let host = match target.host() {
        Some(Host::Ipv4(address)) => Err(IpAddr::from(address)),
        Some(Host::Ipv6(address)) => Err(IpAddr::from(address)),
        Some(Host::Domain(name)) => Ok(name),
        None => Ok(""),
    };
    let name = match host {
        Ok(name) => name,
        Err(address) => {
            let found = format!("{whose}{address} is an address, not a name");
            report.add(Check::passed(CheckName::Dns, found));
            return Ok(vec![SocketAddr::new(address, port)]);
        }
    };
    let since = Instant::now();
    let found = timeout(DNS_LIMIT, options.names.lookup(name, port)).await;
    let took = since.elapsed().as_millis();
    let error = match found {
        Ok(Ok(found)) => {
            let texts: Vec<_> = found.iter().map(|it| it.ip().to_string()).collect();
            let texts = texts.join(", ");
            let said = format!("{whose}{name} is {texts} ({took} ms)");
            report.add(Check::passed(CheckName::Dns, said));
            return Ok(found);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", DNS_LIMIT.as_secs()),
    };
    let failure = Failure::Connect {
        cause: ConnectCause::Dns,
        tried: None,
        detail: String::new(),
    };
    let found = format!("{whose}{name} has no address: {error}");
    report.add(Check::failed(CheckName::Dns, found).fix_of(&failure));
    Err(STOP)
}

/// Connection attempts to the addresses of one family.
struct FamilyConnections {
    /// Each address, with how long it took or why it did not work.
    tried: Vec<(SocketAddr, Result<Duration, String>)>,
}

async fn connect(addresses: &[&SocketAddr]) -> FamilyConnections {
    let mut tried = Vec::new();
    let connecting: Vec<_> = addresses
        .iter()
        .take(MOST_ADDRESSES)
        .map(|&&address| (address, tokio::spawn(connect_to(address))))
        .collect();
    for (address, outcome) in connecting {
        let outcome = outcome.await.unwrap_or_else(|end| Err(end.to_string()));
        tried.push((address, outcome));
    }
    FamilyConnections { tried }
}

async fn connect_to(address: SocketAddr) -> Result<Duration, String> {
    let since = Instant::now();
    match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(since.elapsed()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT_LIMIT.as_secs())),
    }
}

impl FamilyConnections {
    fn reached(&self) -> Option<SocketAddr> {
        let reached = self.tried.iter().find(|(_, outcome)| outcome.is_ok());
        reached.map(|(address, _)| *address)
    }

    /// Check of the family; one that does not work is no failure if the other does.
    fn check(self, name: CheckName, reached: Option<SocketAddr>) -> Check {
        if self.tried.is_empty() {
            return Check::skipped(name, "there is no such address");
        }
        let mut is_dead = false;
        let texts = self.tried.iter().map(|(address, outcome)| match outcome {
            Ok(took) => format!("{address} answers ({} ms)", took.as_millis()),
            Err(error) => {
                is_dead = true;
                format!("{address}: {error}")
            }
        });
        let found = texts.collect::<Vec<_>>().join("; ");
        match (is_dead, reached) {
            (false, _) => Check::passed(name, found),
            (true, Some(_)) if name == CheckName::Ipv6 => Check::warning(name, found)
                .fix("each new connection may be delayed by it: fix IPv6 on this network, or pass --ipv4"),
            (true, Some(_)) => Check::warning(name, found),
            (true, None) => {
                let failure = Failure::Connect {
                    cause: ConnectCause::Refused,
                    tried: None,
                    detail: String::new(),
                };
                Check::failed(name, found).fix_of(&failure)
            }
        }
    }
}

/// Check of the connection from the first request: its security, or why there is none. A status of
/// failure in `first` is the proxy's.
pub(super) async fn judge(
    report: &mut Report<'_>,
    url: &Url,
    way: &NetworkRoute,
    first: Result<(), &Failure>,
) -> Result<(), &'static str> {
    let cause = match first {
        Err(Failure::Connect { cause, .. }) => Some(*cause),
        Err(Failure::Status { .. }) if way.is_proxied() => Some(ConnectCause::Proxy),
        Ok(()) | Err(_) => None,
    };
    if let (Some(ConnectCause::Proxy), Err(failure)) = (cause, first) {
        report.skip(&[CheckName::Tls], "the proxy refuses the connection");
        let found = format!("{}: {failure}", described(&way.route));
        report.add(Check::failed(CheckName::Proxy, found).fix_of(failure));
        return Err("the proxy refuses the connection");
    }
    match url.scheme() {
        "https" => {
            let shown = match way.route {
                Route::Direct(_) => TlsView::observe(url, way.reached).await,
                Route::Proxy(..) => TlsView::Unseen,
            };
            report.add(tls(&shown, cause, first));
        }
        _ if is_loopback(url) => report.skip(&[CheckName::Tls], "plain http, on this machine"),
        _ => report.add(
            Check::warning(
                CheckName::Tls,
                "plain http: everything can be read in transit",
            )
            .fix("use https://"),
        ),
    }
    report.add(Check::passed(CheckName::Proxy, described(&way.route)));
    if report.is_fine(CheckName::Tls) {
        return Ok(());
    }
    Err("there is no trusted connection")
}

/// Check of TLS, from the client's error and from a handshake of its own.
fn tls(shown: &TlsView, cause: Option<ConnectCause>, first: Result<(), &Failure>) -> Check {
    match (first, shown) {
        (Ok(()), TlsView::Certificate(facts, version)) => {
            trusted(version, facts, SystemTime::now())
        }
        (Ok(()), TlsView::Nothing | TlsView::Unseen) => {
            Check::passed(CheckName::Tls, "the certificate is trusted")
        }
        (Err(failure), shown) if cause == Some(ConnectCause::Tls) => {
            let about = match shown {
                TlsView::Certificate(facts, _) => {
                    format!("the certificate is {}; ", describe(facts))
                }
                TlsView::Nothing | TlsView::Unseen => String::new(),
            };
            let why = failure.to_string();
            // What follows are seconds since 1970.
            let why = why.split(": verification time").next().unwrap_or_default();
            Check::failed(CheckName::Tls, format!("{about}{why}")).fix_of(failure)
        }
        (Err(failure), TlsView::Nothing) => {
            let found = format!("the server shows no certificate: {failure}");
            Check::failed(CheckName::Tls, found)
                .fix("check that the port in the URL speaks TLS, and that the server is up")
        }
        (Err(_), TlsView::Certificate(..) | TlsView::Unseen) => {
            Check::skipped(CheckName::Tls, "the connection did not last")
        }
    }
}

/// Result of a TLS handshake that trusts every certificate.
enum TlsView {
    /// This certificate, in this version of TLS.
    Certificate(CertificateFacts, &'static str),
    /// Nothing came of a handshake.
    Nothing,
    /// A proxy stands before it.
    Unseen,
}

impl TlsView {
    async fn observe(url: &Url, address: SocketAddr) -> Self {
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']);
        let look = async {
            let stream = TcpStream::connect(address).await.ok()?;
            certificate::shown_by(stream, host).await
        };
        match timeout(CERTIFICATE_LIMIT, look).await {
            Ok(Some((facts, version))) => Self::Certificate(facts, version),
            Ok(None) | Err(_) => Self::Nothing,
        }
    }
}

fn described(route: &Route) -> String {
    match route {
        Route::Direct(NoProxy::Loopback) => "none: loopback is never proxied".to_owned(),
        Route::Direct(NoProxy::None) => "none".to_owned(),
        Route::Direct(NoProxy::Script) => {
            "none: the script (PAC) in the system's settings is not run; --proxy names a proxy"
                .to_owned()
        }
        Route::Direct(NoProxy::Excluded) => "none: NO_PROXY lists this server".to_owned(),
        Route::Proxy(proxy, source) => {
            let source = match source {
                ProxySource::Option => "--proxy".to_owned(),
                ProxySource::Variable(name) => format!("the environment variable {name}"),
                ProxySource::System => "the system's settings".to_owned(),
            };
            format!("{}, by {source}", bare(proxy))
        }
    }
}

fn trusted(version: &str, facts: &CertificateFacts, now: SystemTime) -> Check {
    let found = format!("{version}, the certificate is {}", describe(facts));
    match facts.left(now) {
        Some(left) if left < EXPIRES_SOON => {
            let days = left.as_secs() / SECONDS_A_DAY;
            let found = format!("{found}, which is in {days} days");
            Check::warning(CheckName::Tls, found).fix("the server's operator has to renew it")
        }
        Some(_) | None => Check::passed(CheckName::Tls, found),
    }
}

/// The client certificate that the server gets to see.
pub(super) fn client_certificate(der: &[u8]) -> Check {
    const NAME: CheckName = CheckName::ClientCertificate;
    let Some(facts) = CertificateFacts::of(der) else {
        let found = "shown to the server, and not of a form that can be described";
        return Check::warning(NAME, found);
    };
    let found = format!("shown to the server: {}", describe(&facts));
    let fix = "ask whoever has issued it for a new one";
    match facts.left(SystemTime::now()) {
        None => Check::failed(NAME, found).fix(fix),
        Some(left) if left < EXPIRES_SOON => Check::warning(NAME, found).fix(fix),
        Some(_) => Check::passed(NAME, found),
    }
}

fn describe(facts: &CertificateFacts) -> String {
    let CertificateFacts {
        names,
        issuer,
        last_day,
        ..
    } = facts;
    format!("for {names}, by {issuer}, good until {last_day}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::CheckOutcome;

    /// Machines with an IPv6 address that leads nowhere are common, and make everything slow.
    #[test]
    fn a_dead_family_is_worth_a_warning_if_the_other_one_lives() {
        let address: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
        let dead = || FamilyConnections {
            tried: vec![(address, Err("Network is unreachable".to_owned()))],
        };
        let living = "192.0.2.1:443".parse().ok();
        let check = dead().check(CheckName::Ipv6, living);
        assert_eq!(check.outcome, CheckOutcome::Warning);
        assert!(check.fix.is_some_and(|fix| fix.contains("--ipv4")));
        let check = dead().check(CheckName::Ipv6, None);
        assert_eq!(check.outcome, CheckOutcome::Failed);
    }

    #[test]
    fn a_certificate_that_ends_soon_is_worth_a_warning() {
        let now = SystemTime::now();
        let lasting = |days| CertificateFacts {
            issuer: "an authority".to_owned(),
            names: "mcp.example".to_owned(),
            not_after: now + Duration::from_secs(days * SECONDS_A_DAY + 60),
            last_day: "that day".to_owned(),
        };
        let check = trusted("TLS 1.3", &lasting(3), now);
        assert_eq!(check.outcome, CheckOutcome::Warning);
        assert!(check.found.ends_with("in 3 days"), "{}", check.found);
        let check = trusted("TLS 1.3", &lasting(30), now);
        assert_eq!(check.outcome, CheckOutcome::Passed);
    }
}
