# What `cmake --install` gives a VMM's author: libferry.so, the public headers, and what
# find_package(ferry) and `pkg-config ferry` want to know of them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The whole of Ferry in one file; its parts stay archives for the commands and the tests, which use
# what is not public.
add_library(ferry-shared SHARED channels/make_runtime.cc $<TARGET_OBJECTS:ferry-core>)
set_target_properties(ferry-shared PROPERTIES OUTPUT_NAME ferry EXPORT_NAME ferry
                      VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
target_compile_features(ferry-shared PUBLIC cxx_std_23)
target_compile_definitions(ferry-shared
                           PRIVATE $<TARGET_PROPERTY:ferry,COMPILE_DEFINITIONS>)  # which transports
target_include_directories(ferry-shared PRIVATE ${CMAKE_SOURCE_DIR}
                           INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
get_target_property(parts ferry LINK_LIBRARIES)
list(REMOVE_ITEM parts ferry-flags)
target_link_libraries(ferry-shared PRIVATE ${parts} ferry-flags)

install(TARGETS ferry-shared EXPORT ferry
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY lib/include/ferry DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES docs/man/migrate-send.1 docs/man/migrate-recv.1
        DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ferry)
install(EXPORT ferry NAMESPACE ferry:: FILE ferry-config.cmake DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/ferry-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ferry-config-version.cmake DESTINATION ${package_dir})

# Wherever the tree is put, at configuration or later: all paths are relative to the file itself.
file(RELATIVE_PATH prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/ferry.pc.in ferry.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ferry.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
