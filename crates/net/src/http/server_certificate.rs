//! Verification of a server's certificate (RFC 5280 §6, RFC 9525).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;

/// Verifies by the authorities of the system and those that the user has named.
///
/// A certificate that the user has named is also good for a server that presents this very certificate, if name
/// and dates are right. `openssl req -x509` makes certificates that call themselves an authority (CA:TRUE), and
/// the verifier of the system refuses an authority as the certificate of a server.
#[derive(Debug)]
pub(super) struct Verifier {
    authorities: rustls_platform_verifier::Verifier,
    named: Vec<CertificateDer<'static>>,
}

impl Verifier {
    pub(super) fn new(
        named: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let roots = named.clone();
        let authorities =
            rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider)?;
        Ok(Self { authorities, named })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        presented: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.authorities
                .verify_server_cert(presented, intermediates, name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(CertificateError::Revoked)) => verified,
            Err(_) if self.named.contains(presented) => verify_named(presented, name, now),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Verifies dates and name of a certificate whose key is trusted.
fn verify_named(
    presented: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let certificate =
        Certificate::from_der(presented).map_err(|_| CertificateError::BadEncoding)?;
    let validity = certificate.tbs_certificate().validity();
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    if !is_common_name(&certificate, name) {
        verify_server_name(&ParsedCertificate::try_from(presented)?, name)?;
    }
    Ok(ServerCertVerified::assertion())
}

/// Returns whether a certificate without alternative names, as `openssl req -x509` makes it unless it is asked for
/// some, has the name as its common name. RFC 9525 §2 has done away with that; here the certificate itself is
/// trusted.
fn is_common_name(certificate: &Certificate, name: &ServerName<'_>) -> bool {
    let certificate = certificate.tbs_certificate();
    let names = certificate.get_extension::<SubjectAltName>();
    if !matches!(names, Ok(None)) {
        return false;
    }
    let Ok(Some(common)) = certificate.subject().common_name() else {
        return false;
    };
    common.value().eq_ignore_ascii_case(&name.to_str())
}
