#!/usr/bin/env bash
# Kafka's own DumpLogSegments reads the segments that are written here: checksums are valid, indexes
# and time indexes agree. Needs Java 17 or later, and Maven Central the first time; both are seen to.
set -euo pipefail
cd "$(dirname "$0")/.."

version=4.3.1
repository=${MAVEN_CENTRAL:-https://repo1.maven.org/maven2}
jars=target/kafka-tools-$version

if ! command -v java > /dev/null; then
  sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless
fi

# What DumpLogSegments loads of the artifact kafka-tools and its dependencies.
mkdir -p "$jars"
while read -r sum path; do
  file=$jars/${path##*/}
  if ! echo "$sum  $file" | sha256sum --check --status 2> /dev/null; then
    printf 'fetching %s\n' "$path"
    if ! curl --fail --silent --show-error --location --retry 3 --output "$file" "$repository/$path"; then
      printf 'Maven Central (%s) cannot be reached: Kafka has not read what is written here\n' "$repository" >&2
      exit 1
    fi
    echo "$sum  $file" | sha256sum --check --quiet
  fi
done << 'JARS'
62f3c5dd7aa3442d4c5bc6a95f86e2502178ea09de8e27f74d9563bf955e253c org/apache/kafka/kafka-tools/4.3.1/kafka-tools-4.3.1.jar
dcf6785742e0c8ab11a0fc09c62f1192e11e997dc629669a8db82aa40d933c31 org/apache/kafka/kafka-tools-api/4.3.1/kafka-tools-api-4.3.1.jar
52501b7b47510c66f898871adaf6d2968ab7246561d44ced43643a8a587f0b36 org/apache/kafka/kafka-clients/4.3.1/kafka-clients-4.3.1.jar
d7c719f749579a399011f0df7414de8a78f10f074a6122caa550fdb141351575 org/apache/kafka/kafka-server-common/4.3.1/kafka-server-common-4.3.1.jar
97e3facddd2914a58f28ec91ef35f8da69963eab3651196e97f487924f6dac98 org/apache/kafka/kafka-storage/4.3.1/kafka-storage-4.3.1.jar
df26cc58f235f477db07f753ba5a3ab243ebe5789d9f89ecf68dd62ea9a66c28 net/sf/jopt-simple/jopt-simple/5.0.4/jopt-simple-5.0.4.jar
d3ef575e3e4979678dc01bf1dcce51021493b4d11fb7f1be8ad982877c16a1c0 org/slf4j/slf4j-api/1.7.36/slf4j-api-1.7.36.jar
252dabd586d22149a31661a8afc1a50747714eb1a298bd4a6e780c8c91a13866 at/yawk/lz4/lz4-java/1.10.2/lz4-java-1.10.2.jar
4c766cb3f855415ee734b2392949a0b6f12a60879334a74518deaf6270d32e36 org/xerial/snappy/snappy-java/1.1.10.7/snappy-java-1.1.10.7.jar
b6c3237e24b8252a5a9c3a0e1ae30ef8f323412e74bd358548b7a9e527d676df com/github/luben/zstd-jni/1.5.6-10/zstd-jni-1.5.6-10.jar
JARS

KAFKA_TOOLS_CLASSPATH="$PWD/$jars/*" \
  cargo test --workspace --features everyack-broker/kafka-tools --test kafka_tools --locked
