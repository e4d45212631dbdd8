//! How a server's certificate is judged: the system's authorities, a CA file, a pinned fingerprint, or not at all.
#![expect(clippy::disallowed_methods, reason = "reads the CA file that the definition names")]

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::wire::http::Trust;

/// Why a certificate was refused, with the fingerprint that was seen: whoever knows the server can pin it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    Pin { pinned: String, seen: String },
    Chain { why: String, seen: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin { pinned, seen } => write!(f, "its SHA-256 fingerprint is {seen}, but {pinned} is pinned"),
            Self::Chain { why, seen } => write!(f, "{why}; its SHA-256 fingerprint is {seen}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

/// A client configuration that judges by `trust` whether the server is `host`, whatever address is dialled. The error is a sentence for
/// [`crate::wire::http::HttpError::Untrusted`].
pub fn client_config(trust: &Trust, host: &str) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is neither a host name nor an address"))?;
    let judge = judge(trust, &provider)?;
    // An address has no place in SNI; a name that is dialled elsewhere keeps its own.
    let sni = matches!(name, ServerName::DnsName(_));
    let verifier = Arc::new(Verifier { judge, name, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.enable_sni = sni;
    Ok(config)
}

/// A SHA-256 as Proxmox shows it: `AB:CD:…`.
pub fn fingerprint(der: &[u8]) -> String {
    colons(digest(&SHA256, der).as_ref())
}

fn colons(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

fn judge(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Judge, String> {
    match trust {
        Trust::System => {
            let system = rustls_platform_verifier::Verifier::new(Arc::clone(provider));
            Ok(Judge::Chain(Arc::new(system.map_err(|e| format!("the system's certificate authorities cannot be read: {e}"))?)))
        }
        Trust::CaFile(path) => authorities(path, provider),
        Trust::Fingerprint(pin) => {
            let digits: String = pin.chars().filter(|c| *c != ':' && !c.is_whitespace()).collect();
            let pairs =
                digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok()));
            let bytes: Option<Vec<u8>> = pairs.collect();
            let bytes = bytes.filter(|bytes| bytes.len() == 32 && digits.len() == 64);
            bytes.map(Judge::Pin).ok_or_else(|| format!("the fingerprint `{pin}` is not a SHA-256 in 64 hex digits"))
        }
        Trust::Skip => Ok(Judge::Anything),
    }
}

fn authorities(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Judge, String> {
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|e| format!("the CA file {shown} cannot be read: {e}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| format!("the CA file {shown} is not PEM: {e}"))?;
        roots.add(certificate).map_err(|e| format!("the CA file {shown} holds a certificate that cannot be used: {e}"))?;
    }
    if roots.is_empty() {
        return Err(format!("the CA file {shown} holds no certificate"));
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    Ok(Judge::Chain(chain.map_err(|e| format!("the CA file {shown} cannot be used: {e}"))?))
}

#[derive(Debug)]
enum Judge {
    Chain(Arc<dyn ServerCertVerifier>),
    Pin(Vec<u8>),
    Anything,
}

/// Judges for the configured name instead of the dialled one, and always demands the proof that the server holds the certificate's key.
#[derive(Debug)]
struct Verifier {
    judge: Judge,
    name: ServerName<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.judge {
            Judge::Chain(chain) => {
                let judged = chain.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now);
                judged.map_err(|error| match error {
                    Error::InvalidCertificate(why) => Refusal::Chain { why: sentence(&why), seen: fingerprint(end_entity) }.into(),
                    other => other,
                })
            }
            Judge::Pin(pin) => {
                let seen = digest(&SHA256, end_entity);
                if seen.as_ref() == pin.as_slice() {
                    return Ok(ServerCertVerified::assertion());
                }
                Err(Refusal::Pin { pinned: colons(pin), seen: colons(seen.as_ref()) }.into())
            }
            Judge::Anything => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The sentence of a certificate error; `None` for other errors of TLS.
pub fn why_refused(error: &Error) -> Option<String> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => Some(other.0.to_string()),
        Error::InvalidCertificate(why) => Some(sentence(why)),
        _ => None,
    }
}

fn sentence(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "no trusted authority signed it".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_authorities_are_read_or_refused_however_spoiled() {
        let pem = rcgen::generate_simple_self_signed(["pve.test".to_owned()]).unwrap().cert.pem();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        crate::walks::feed(&[pem.clone(), format!("text\n{pem}{pem}")], move |bytes| {
            let _held = &dir;
            std::fs::write(&path, bytes).unwrap();
            authorities(&path, &provider).map(drop)
        });
    }
}
