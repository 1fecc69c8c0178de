// An authority of a test's own, and what it has signed.
#pragma once

#include <filesystem>
#include <string>

#include "tests/image/temp_folder.h"

namespace ferry {

/// Makes an authority and certificates with the command openssl, once for the whole process.
class Certificates {
 public:
  /// Where they are, by these names, each with -cert.pem and -key.pem:
  ///   ca; server (for 127.0.0.1), client (O=Example, CN=node7), elsewhere (for another.example),
  ///   old (for 127.0.0.1, expired), all signed by it;
  ///   stranger (for 127.0.0.1), signed by another authority.
  /// revoked-server.pem and revoked-client.pem are lists with that certificate in it.
  static const std::filesystem::path& all();

  /// A folder for --tls-dir: the authority, and these two as server and client. None: "".
  static void fill(const TempFolder& folder, const std::string& server, const std::string& client);
};

}  // namespace ferry
