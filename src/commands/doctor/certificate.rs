//! Contents of a certificate, for people. Whether it is trusted is decided elsewhere: by the client that the bridge
//! uses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcp_bridge_net::mutex::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion,
    SignatureScheme,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

/// Limit of names of a certificate that are shown.
const MOST_NAMES: usize = 4;

/// Size of the buffer for a handshake, in bytes.
const READ_BYTES: usize = 4096;

/// Contents of a certificate.
#[derive(Debug)]
pub(super) struct CertificateFacts {
    /// Issuer.
    pub(super) issuer: String,
    /// Names that it is valid for.
    pub(super) names: String,
    /// The last moment at which it is good.
    pub(super) not_after: SystemTime,
    /// The day of that, as `2026-07-28`.
    pub(super) last_day: String,
}

impl CertificateFacts {
    /// Reads a certificate; none if it cannot be read.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let certificate = certificate.tbs_certificate();
        let alternatives = certificate.get_extension::<SubjectAltName>().ok().flatten();
        let names: Vec<_> = match &alternatives {
            Some((_, alternatives)) => alternatives.0.iter().filter_map(text).collect(),
            None => vec![short(certificate.subject())],
        };
        let not_after = certificate.validity().not_after;
        let day = not_after.to_date_time().to_string();
        Some(Self {
            issuer: short(certificate.issuer()),
            names: listed(&names),
            not_after: SystemTime::UNIX_EPOCH + not_after.to_unix_duration(),
            last_day: day.split('T').next().unwrap_or_default().to_owned(),
        })
    }

    /// Remaining validity from `now` on; `None` if it has expired.
    pub(super) fn left(&self, now: SystemTime) -> Option<Duration> {
        self.not_after.duration_since(now).ok()
    }
}

fn listed(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
    let more = names.len() - shown.len();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The common name, else all of it.
fn short(name: &Name) -> String {
    match name.common_name() {
        Ok(Some(common)) => common.value().into_owned(),
        Ok(None) | Err(_) => name.to_string(),
    }
}

fn text(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(address) => {
            let bytes = address.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// The certificate that a server shows, whether it can be trusted or not, and the version of TLS. The
/// handshake ends before anything could be sent over it.
pub(super) async fn shown_by(
    mut stream: TcpStream,
    host: &str,
) -> Option<(CertificateFacts, &'static str)> {
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let shown = Arc::new(CertificateRecorder::default());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&shown) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut buffer = vec![0; READ_BYTES];
    // Whatever ends it, the certificate has come or it has not.
    let _ = async {
        while connection.is_handshaking() {
            let mut hello = Vec::new();
            connection.write_tls(&mut hello)?;
            stream.write_all(&hello).await?;
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            let mut bytes = &buffer[..read];
            while !bytes.is_empty() {
                connection.read_tls(&mut bytes)?;
                let processed = connection.process_new_packets();
                processed.map_err(std::io::Error::other)?;
            }
        }
        Ok::<_, std::io::Error>(())
    }
    .await;
    let leaf = shown.leaf.lock();
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(_) | None => "TLS",
    };
    Some((CertificateFacts::of(leaf.as_deref()?)?, version))
}

/// Looks at the certificate, and trusts none.
#[derive(Debug, Default)]
struct CertificateRecorder {
    leaf: Mutex<Option<Vec<u8>>>,
}

impl ServerCertVerifier for CertificateRecorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut shown = self.leaf.lock();
        *shown = Some(leaf.to_vec());
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::BadSignature.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::ring::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
