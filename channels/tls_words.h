// What OpenSSL's numbers mean to people.
#pragma once

#include <optional>
#include <string>

namespace ferry {

/// Why a certificate of the peer's does not hold (X509_V_ERR_).
std::string words_of_verdict(long verdict);
/// What may help; empty where nothing does.
std::string remedy_of_verdict(long verdict);

/// What the peer's alert (SSL_AD_) says of us; nothing where it is about something else.
std::optional<std::string> complaint_of(int alert);

}  // namespace ferry
