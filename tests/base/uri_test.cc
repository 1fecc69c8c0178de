#include "ferry/uri.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace ferry {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Uri host_and_port(std::string scheme, std::string host, std::uint16_t port = k_default_port) {
  return {
      .scheme = std::move(scheme), .host = std::move(host), .port = port, .path = {}, .query = {}};
}

Uri host_port_and_path(std::string scheme, std::string host, std::string path,
                       std::uint16_t port = k_default_port) {
  Uri uri = host_and_port(std::move(scheme), std::move(host), port);
  uri.path = std::move(path);
  return uri;
}
Uri with_path(std::string scheme, std::string path) {
  return {.scheme = std::move(scheme), .host = {}, .path = std::move(path), .query = {}};
}

struct Good {
  std::string_view text;
  Uri uri;
  std::string_view own_form;
};

class GoodUriTest : public ::testing::TestWithParam<Good> {};

TEST_P(GoodUriTest, IsParsedAndWrittenInItsOwnForm) {
  const auto uri = Uri::parse(GetParam().text);
  ASSERT_TRUE(uri.has_value()) << uri.error().text();
  EXPECT_EQ(*uri, GetParam().uri);
  EXPECT_EQ(uri->text(), GetParam().own_form);
  EXPECT_EQ(Uri::parse(uri->text()).value(), *uri);
}

INSTANTIATE_TEST_SUITE_P(
    HostAndPort, GoodUriTest,
    ::testing::Values(
        Good{"tcp://node7:4000", host_and_port("tcp", "node7", 4000), "tcp://node7:4000"},
        Good{"tcp://node7", host_and_port("tcp", "node7"), "tcp://node7:4446"},
        Good{"tcp://10.0.0.1:0", host_and_port("tcp", "10.0.0.1", 0), "tcp://10.0.0.1:0"},
        Good{"tcp://:65535", host_and_port("tcp", "", 65535), "tcp://:65535"},
        Good{"tcp://", host_and_port("tcp", ""), "tcp://:4446"},
        Good{"TCP://Node7", host_and_port("tcp", "Node7"), "tcp://Node7:4446"},
        Good{"tcp:node7:4000", host_and_port("tcp", "node7", 4000), "tcp://node7:4000"},
        Good{"tcp:node7", host_and_port("tcp", "node7"), "tcp://node7:4446"},
        Good{"tcp::4000", host_and_port("tcp", "", 4000), "tcp://:4000"},
        Good{"tcp:[::1]:4000", host_and_port("tcp", "::1", 4000), "tcp://[::1]:4000"},
        Good{"tcp://[::]", host_and_port("tcp", "::"), "tcp://[::]:4446"},
        Good{"tcp://[fe80::1%eth0]:1", host_and_port("tcp", "fe80::1%eth0", 1),
             "tcp://[fe80::1%eth0]:1"},
        Good{"tcp://[::ffff:10.0.0.1]", host_and_port("tcp", "::ffff:10.0.0.1"),
             "tcp://[::ffff:10.0.0.1]:4446"},
        Good{"rdma://node7", host_and_port("rdma", "node7"), "rdma://node7:4446"},
        Good{"rdma:node7:1", host_and_port("rdma", "node7", 1), "rdma://node7:1"},
        Good{"tls://node7", host_and_port("tls", "node7"), "tls://node7:4446"},
        Good{"ws://node7:80", host_and_port("ws", "node7", 80), "ws://node7:80"},
        Good{"wss://node7:443", host_and_port("wss", "node7", 443), "wss://node7:443"},
        Good{"vsock://3:4446", host_and_port("vsock", "3"), "vsock://3:4446"},
        Good{"vsock:4294967295:1", host_and_port("vsock", "4294967295", 1), "vsock://4294967295:1"},
        Good{"vsock://:5", host_and_port("vsock", "", 5), "vsock://:5"},
        Good{"carrier+pigeon.v2://roof:7", host_and_port("carrier+pigeon.v2", "roof", 7),
             "carrier+pigeon.v2://roof:7"}));

INSTANTIATE_TEST_SUITE_P(
    Path, GoodUriTest,
    ::testing::Values(
        Good{"unix:///run/f.sock", with_path("unix", "/run/f.sock"), "unix:///run/f.sock"},
        Good{"unix:/run/f.sock", with_path("unix", "/run/f.sock"), "unix:///run/f.sock"},
        Good{"unix://@ferry", with_path("unix", "@ferry"), "unix://@ferry"},
        Good{"unix:@ferry/1", with_path("unix", "@ferry/1"), "unix://@ferry/1"},
        Good{"file:///tmp/a.img", with_path("file", "/tmp/a.img"), "file:///tmp/a.img"},
        Good{"file:////tmp//a", with_path("file", "//tmp//a"), "file:////tmp//a"},
        Good{"unix:///a%20b%3Fc%25", with_path("unix", "/a b?c%"), "unix:///a%20b%3Fc%25"},
        Good{"unix:/a b?c%20", with_path("unix", "/a b?c%20"), "unix:///a%20b%3Fc%2520"},
        Good{"file:///tmp/\xc3\xa4#&=", with_path("file", "/tmp/\xc3\xa4#&="),
             "file:///tmp/\xc3\xa4#&="}));

INSTANTIATE_TEST_SUITE_P(
    HostPortAndPath, GoodUriTest,
    ::testing::Values(
        Good{"ws://node7/a/b", host_port_and_path("ws", "node7", "/a/b"), "ws://node7:4446/a/b"},
        Good{"wss://node7:443/a%20b", host_port_and_path("wss", "node7", "/a b", 443),
             "wss://node7:443/a%20b"},
        Good{"ws://[::1]:80/", host_port_and_path("ws", "::1", "/", 80), "ws://[::1]:80/"},
        Good{"ws:///ferry", host_port_and_path("ws", "", "/ferry"), "ws:///ferry"},
        Good{"ws://:80/ferry", host_port_and_path("ws", "", "/ferry", 80), "ws://:80/ferry"},
        Good{"pigeon:///loft", host_port_and_path("pigeon", "", "/loft"), "pigeon:///loft"}));

INSTANTIATE_TEST_SUITE_P(
    Others, GoodUriTest,
    ::testing::Values(Good{"exec:ssh node7 'migrate-recv ?a=%20 stdio:'",
                           with_path("exec", "ssh node7 'migrate-recv ?a=%20 stdio:'"),
                           "exec:ssh node7 'migrate-recv ?a=%20 stdio:'"},
                      Good{"exec://odd", with_path("exec", "//odd"), "exec://odd"},
                      Good{"fd:3", with_path("fd", "3"), "fd:3"},
                      Good{"fd:0007", with_path("fd", "7"), "fd:7"},
                      Good{"stdio:", with_path("stdio", ""), "stdio:"}));

TEST(Uri, AQueryIsDecoded) {
  const auto uri = Uri::parse("tcp://node7?key=a%26b%3d%25&flag&empty=&x=1=2");
  ASSERT_TRUE(uri.has_value()) << uri.error().text();
  const std::map<std::string, std::string> expected{
      {"key", "a&b=%"}, {"flag", ""}, {"empty", ""}, {"x", "1=2"}};
  EXPECT_EQ(uri->query, expected);
  EXPECT_EQ(uri->text(), "tcp://node7:4446?empty=&flag=&key=a%26b=%25&x=1=2");
  EXPECT_EQ(Uri::parse(uri->text()).value(), *uri);
}

TEST(Uri, APathMayHaveAQuery) {
  const auto uri = Uri::parse("unix:///run/f.sock?mode=0600");
  ASSERT_TRUE(uri.has_value());
  EXPECT_EQ(uri->path, "/run/f.sock");
  EXPECT_EQ(uri->query.at("mode"), "0600");
  EXPECT_EQ(uri->text(), "unix:///run/f.sock?mode=0600");
}

TEST(Uri, AnEmptyQueryIsNone) {
  EXPECT_EQ(Uri::parse("tcp://node7?").value(), Uri::parse("tcp://node7").value());
}

struct Bad {
  std::string text;
  std::string_view why;
};

class BadUriTest : public ::testing::TestWithParam<Bad> {};

TEST_P(BadUriTest, IsAUsageErrorOfOneLineThatSaysWhy) {
  const auto uri = Uri::parse(GetParam().text);
  ASSERT_FALSE(uri.has_value()) << uri->text();
  EXPECT_EQ(uri.error().code, Errc::usage);
  EXPECT_THAT(uri.error().text(), StartsWith("parse URI '"));
  EXPECT_THAT(uri.error().text(), HasSubstr(GetParam().why));
  EXPECT_THAT(uri.error().text(), Not(HasSubstr("\n")));
}

INSTANTIATE_TEST_SUITE_P(Shape, BadUriTest,
                         ::testing::Values(Bad{"", "it is empty"}, Bad{"node7", "it has no scheme"},
                                           Bad{"/run/f.sock", "it has no scheme"},
                                           Bad{"://x", "not the name of a scheme"},
                                           Bad{"1tcp://x", "not the name of a scheme"},
                                           Bad{"t cp://x", "not the name of a scheme"},
                                           Bad{"node7:4446", "'//' must follow 'node7:'"},
                                           Bad{"tls:node7:4446", "'//' must follow"},
                                           Bad{"tcp://a\0b"s, "control characters"},
                                           Bad{"tcp://a\n", "control characters"},
                                           Bad{"exec:a\x7f", "control characters"},
                                           Bad{"unix:///a%00b", "control characters"},
                                           Bad{"tcp://a?b=%0a", "control characters"}));

INSTANTIATE_TEST_SUITE_P(
    HostAndPort, BadUriTest,
    ::testing::Values(
        Bad{"tcp://host:99999", "': port must be 0 to 65535"},
        Bad{"tcp://host:65536", "port must be"}, Bad{"tcp://host:", "port must be"},
        Bad{"tcp://host:-1", "port must be"}, Bad{"tcp://host:+1", "port must be"},
        Bad{"tcp://host: 1", "port must be"}, Bad{"tcp://host:1x", "port must be"},
        Bad{"tcp://host:1/path", "port must be"}, Bad{"tcp:host:1?a=b", "port must be"},
        Bad{"tcp://host:18446744073709551617", "port must be"},
        Bad{"tcp://host/", "not the name of a host"}, Bad{"tcp://a b", "not the name of a host"},
        Bad{"tcp://user@host", "not the name of a host"},
        Bad{"tcp://h\xc3\xb6st", "not the name of a host"},
        Bad{"tcp://::1", "an IPv6 address stands in brackets"}, Bad{"tcp://[::1", "']' is missing"},
        Bad{"tcp://[::1]x", "only ':port' may follow"}, Bad{"tcp://[::1]:", "port must be"},
        Bad{"tcp://[]", "not an IPv6 address"}, Bad{"tcp://[10.0.0.1]", "not an IPv6 address"},
        Bad{"tcp://[::1%]", "not an IPv6 address"}, Bad{"tcp://[::1%a/b]", "not an IPv6 address"},
        Bad{"tcp://[[::1]]", "not an IPv6 address"}, Bad{"vsock://node7:1", "a number (cid)"},
        Bad{"vsock://4294967296:1", "a number (cid)"},
        Bad{"vsock://[::1]:1", "brackets are for IPv6"},
        Bad{"tcp://a?b=1&b=2", "option 'b' is given twice"}, Bad{"tcp://a?=1", "has no name"},
        Bad{"tcp://a?b=1&&c=2", "has no name"}, Bad{"tcp://a?b=%4", "two hexadecimal digits"},
        Bad{"tcp://a?b=%", "two hexadecimal digits"}, Bad{"tcp://a?%zz=", "two hexadecimal digits"},
        Bad{"tcp://a?b=%+1", "two hexadecimal digits"}));

INSTANTIATE_TEST_SUITE_P(
    Others, BadUriTest,
    ::testing::Values(
        Bad{"unix://", "the path is missing"}, Bad{"unix:", "the path is missing"},
        Bad{"file:///a%", "write '%' itself as %25"},
        Bad{"unix://@", "the abstract name is missing"},
        Bad{"unix://run/f.sock", "must begin with '/'"}, Bad{"unix:f.sock", "must begin with '/'"},
        Bad{"file://@x", "must begin with '/'"}, Bad{"exec:", "the command is missing"},
        Bad{"fd:", "a descriptor's number"}, Bad{"fd:-1", "a descriptor's number"},
        Bad{"fd:3x", "a descriptor's number"}, Bad{"fd:2147483648", "a descriptor's number"},
        Bad{"fd://3", "a descriptor's number"}, Bad{"stdio:x", "nothing may follow 'stdio:'"}));

TEST(Uri, AnErrorShowsNoMoreThanTheBeginningOfALongText) {
  const auto uri = Uri::parse("tcp://" + std::string(1'000'000, '!'));
  ASSERT_FALSE(uri.has_value());
  EXPECT_LT(uri.error().text().size(), 1000u);
}

// Any bytes at all: an error, or a Uri that survives its own text.
TEST(Uri, WhateverIsParsedIsWrittenSoThatItParsesTheSame) {
  constexpr std::string_view k_pieces[] = {
      "tcp", "unix",  "file", "exec", "fd", "stdio", "vsock", "x",    ":",   "//",
      "/",   "[::1]", "[",    "]",    "@",  "?",     "&",     "=",    "%",   "%25",
      "%3",  "%00",   " ",    "4446", "0",  "h",     "\n",    "\xff", "%ff", "%5b",
      "+",   "65536", "::",   ".",    "#",  "-",     "%2F",   "%20",  ";"};
  constexpr std::string_view k_beginnings[] = {
      "", "tcp://", "tcp:", "unix:/", "unix://@", "exec:", "file:///", "vsock://", "fd:", "x://["};
  std::mt19937 random(1);
  std::uniform_int_distribution<std::size_t> beginning(0, std::size(k_beginnings) - 1);
  std::uniform_int_distribution<std::size_t> any(0, std::size(k_pieces) - 1);
  std::uniform_int_distribution<int> length(0, 9);
  int parsed = 0;
  for (int round = 0; round < 50'000; ++round) {
    std::string text(k_beginnings[beginning(random)]);
    for (int i = length(random); i > 0; --i) text += k_pieces[any(random)];
    const auto uri = Uri::parse(text);
    if (!uri) continue;
    ++parsed;
    const auto again = Uri::parse(uri->text());
    ASSERT_TRUE(again.has_value()) << text << ": " << again.error().text();
    ASSERT_EQ(*again, *uri) << text;
    ASSERT_EQ(again->text(), uri->text()) << text;
  }
  EXPECT_GT(parsed, 1000);
}

}  // namespace
}  // namespace ferry
