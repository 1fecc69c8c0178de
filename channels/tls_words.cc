#include "channels/tls_words.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace ferry {

std::string words_of_verdict(long verdict) {
  switch (verdict) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return "its certificate is from an unknown authority";
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "its certificate has expired";
    case X509_V_ERR_CERT_REVOKED:
      return "its certificate was revoked";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "its certificate is for another name";
    case X509_V_ERR_APPLICATION_VERIFICATION:
      return "its certificate's subject is not authorized";
    default:
      return std::string("its certificate does not hold: ") +
             X509_verify_cert_error_string(verdict);
  }
}

std::string remedy_of_verdict(long verdict) {
  switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "--tls-hostname says which name to expect";
    case X509_V_ERR_APPLICATION_VERIFICATION:
      return "--tls-authz says who may send";
    default:
      return {};
  }
}

std::optional<std::string> complaint_of(int alert) {
  switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
      return "our certificate is bad, or for another name than the one it was told to expect";
    case SSL_AD_CERTIFICATE_EXPIRED:
      return "our certificate has expired";
    case SSL_AD_CERTIFICATE_REVOKED:
      return "our certificate was revoked";
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
      return "our certificate is not accepted";
    case SSL_AD_UNKNOWN_CA:
      return "our certificate is from an authority that it does not know";
    case SSL_AD_CERTIFICATE_REQUIRED:
      return "we have no client certificate to show";
    case SSL_AD_ACCESS_DENIED:
      return "our certificate's subject is not authorized";
    default:
      return std::nullopt;
  }
}

}  // namespace ferry
