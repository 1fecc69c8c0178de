#include "session/state.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace ferry {
namespace {

using S = SourceState;
using SE = SourceEvent;
using D = DestinationState;
using DE = DestinationEvent;

constexpr auto k_never = std::nullopt;

// A row a state, a column an event, in the order of the enumerations.
const std::vector<S> k_source_states = {S::idle,   S::connecting, S::precopy,
                                        S::paused, S::prepared,   S::committing,
                                        S::done,   S::resumed,    S::unknown};
const std::vector<SE> k_source_events = {SE::connect, SE::agreed,  SE::pause, SE::ready,
                                         SE::commit,  SE::started, SE::failed};
// clang-format off
const std::vector<std::vector<std::optional<S>>> k_source_table = {
    //                 connect        agreed      pause      ready        commit         started  failed
    /* idle       */ {S::connecting, k_never,    k_never,   k_never,     k_never,       k_never, S::resumed},
    /* connecting */ {k_never,       S::precopy, k_never,   k_never,     k_never,       k_never, S::resumed},
    /* precopy    */ {k_never,       k_never,    S::paused, k_never,     k_never,       k_never, S::resumed},
    /* paused     */ {k_never,       k_never,    k_never,   S::prepared, k_never,       k_never, S::resumed},
    /* prepared   */ {k_never,       k_never,    k_never,   k_never,     S::committing, k_never, S::resumed},
    /* committing */ {k_never,       k_never,    k_never,   k_never,     k_never,       S::done, S::unknown},
    /* done       */ {k_never,       k_never,    k_never,   k_never,     k_never,       k_never, k_never},
    /* resumed    */ {k_never,       k_never,    k_never,   k_never,     k_never,       k_never, k_never},
    /* unknown    */ {k_never,       k_never,    k_never,   k_never,     k_never,       k_never, k_never},
};

const std::vector<D> k_destination_states = {D::waiting, D::receiving, D::ready,  D::starting,
                                             D::running, D::aborted,   D::crashed};
const std::vector<DE> k_destination_events = {DE::layout, DE::prepared, DE::commit, DE::started,
                                              DE::failed};
const std::vector<std::vector<std::optional<D>>> k_destination_table = {
    //                layout        prepared  commit       started     failed
    /* waiting   */ {D::receiving, k_never,  k_never,     k_never,    D::aborted},
    /* receiving */ {k_never,      D::ready, k_never,     k_never,    D::aborted},
    /* ready     */ {k_never,      k_never,  D::starting, k_never,    D::aborted},
    /* starting  */ {k_never,      k_never,  k_never,     D::running, D::crashed},
    /* running   */ {k_never,      k_never,  k_never,     k_never,    k_never},
    /* aborted   */ {k_never,      k_never,  k_never,     k_never,    k_never},
    /* crashed   */ {k_never,      k_never,  k_never,     k_never,    k_never},
};
// clang-format on

TEST(SourceStates, FollowTheTableForEveryPairOfStateAndEvent) {
  for (std::size_t row = 0; row < k_source_states.size(); ++row) {
    for (std::size_t column = 0; column < k_source_events.size(); ++column) {
      EXPECT_EQ(next(k_source_states[row], k_source_events[column]), k_source_table[row][column])
          << to_string(k_source_states[row]) << ", event " << column;
    }
  }
}

TEST(SourceStates, SayWhoOwnsTheGuest) {
  const std::map<S, Owner> owners = {
      {S::idle, Owner::source},      {S::connecting, Owner::source},
      {S::precopy, Owner::source},   {S::paused, Owner::source},
      {S::prepared, Owner::source},  {S::committing, Owner::unknown},
      {S::done, Owner::destination}, {S::resumed, Owner::source},
      {S::unknown, Owner::unknown},
  };
  ASSERT_EQ(owners.size(), k_source_states.size());
  for (const auto& [state, owner] : owners) EXPECT_EQ(owner_in(state), owner) << to_string(state);
}

TEST(DestinationStates, FollowTheTableForEveryPairOfStateAndEvent) {
  for (std::size_t row = 0; row < k_destination_states.size(); ++row) {
    for (std::size_t column = 0; column < k_destination_events.size(); ++column) {
      EXPECT_EQ(next(k_destination_states[row], k_destination_events[column]),
                k_destination_table[row][column])
          << to_string(k_destination_states[row]) << ", event " << column;
    }
  }
}

TEST(DestinationStates, SayWhoOwnsTheGuest) {
  const std::map<D, Owner> owners = {
      {D::waiting, Owner::source},      {D::receiving, Owner::source},
      {D::ready, Owner::source},        {D::starting, Owner::destination},
      {D::running, Owner::destination}, {D::aborted, Owner::source},
      {D::crashed, Owner::destination},
  };
  ASSERT_EQ(owners.size(), k_destination_states.size());
  for (const auto& [state, owner] : owners) EXPECT_EQ(owner_in(state), owner) << to_string(state);
}

TEST(States, HaveNamesOfTheirOwn) {
  std::map<std::string_view, int> names;
  for (const S state : k_source_states) ++names[to_string(state)];
  EXPECT_EQ(names.size(), k_source_states.size());
  names.clear();
  for (const D state : k_destination_states) ++names[to_string(state)];
  EXPECT_EQ(names.size(), k_destination_states.size());
  EXPECT_FALSE(names.contains("?"));
}

}  // namespace
}  // namespace ferry
