//! Special-purpose address ranges: addresses that are none of the public internet's (IANA special-purpose
//! registries, RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns whether an address lies inside this machine or network, or nowhere, instead of on the public internet.
///
/// An IPv6 address with an IPv4 address in it counts by the latter: a translator or tunnel delivers to that.
#[must_use]
pub fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_inside_v4(address),
        IpAddr::V6(address) => is_inside_v6(address),
    }
}

fn is_inside_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || first == 0
        || first >= 240
        // Carrier-grade NAT (RFC 6598), IETF protocols (RFC 6890), benchmarks (RFC 2544).
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 198 && (18..20).contains(&second))
}

fn is_inside_v6(address: Ipv6Addr) -> bool {
    let embedded = embedded(address);
    if embedded.is_empty() {
        return !is_global_unicast(address);
    }
    embedded.into_iter().any(is_inside_v4)
}

/// The IPv4 addresses that an IPv6 address stands for; several where its form leaves open which one.
fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let octets = address.octets();
    let at = |start: usize| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|offset| octets[start + offset]);
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        // The unspecified and the loopback address have the form of IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        // IPv4-compatible and IPv4-mapped (RFC 4291 §2.5.5), IPv4-translated (RFC 2765 §2.1), NAT64 (RFC 6052 §2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![at(12)],
        // NAT64 of the network's own (RFC 8215).
        [0x64, 0xff9b, 1, ..] => local_nat64(octets),
        // Teredo (RFC 4380 §4): the server, and the client with its bits turned.
        [0x2001, 0, ..] => vec![at(4), Ipv4Addr::from_bits(!at(12).to_bits())],
        // 6to4 (RFC 3056 §2).
        [0x2002, ..] => vec![at(2)],
        // ISATAP (RFC 5214 §6.1).
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] if is_global_unicast(address) => vec![at(12)],
        _ => Vec::new(),
    }
}

/// The readings of an address of which is unknown how long its NAT64 prefix is (RFC 6052 §2.2).
///
/// A reading that begins with zero is none: nothing can be reached at such an address. Where all do, the result is
/// such a reading, which counts as inside.
fn local_nat64(octets: [u8; 16]) -> Vec<Ipv4Addr> {
    let at = |indices: [usize; 4]| {
        let [a, b, c, d] = indices.map(|index| octets[index]);
        Ipv4Addr::new(a, b, c, d)
    };
    let prefixes = [
        [6, 7, 9, 10],
        [7, 9, 10, 11],
        [9, 10, 11, 12],
        [12, 13, 14, 15],
    ];
    let mut readings: Vec<_> = prefixes.map(at).into();
    readings.retain(|reading| reading.octets()[0] != 0);
    if readings.is_empty() {
        readings.push(Ipv4Addr::UNSPECIFIED);
    }
    readings
}

/// `2000::/3` without the parts of it that are for protocols (`2001::/23`) and documentation.
fn is_global_unicast(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_special = match first {
        0x2001 => second < 0x200 || second == 0xdb8,
        0x3fff => second < 0x1000,
        _ => false,
    };
    first & 0xe000 == 0x2000 && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, inside: bool) {
        assert_eq!(is_inside(address.parse().unwrap()), inside, "{address}");
    }

    #[test]
    fn special_addresses_are_inside() {
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "feff::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "100::1",
            "2001:db8::1",
            "2001:2::1",
            "2001:10::1",
            "3fff::1",
            "5f00::1",
            "4000::1",
        ] {
            check(address, true);
        }
        for address in [
            "8.8.8.8",
            "100.63.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "2a00::1",
            "2001:4860:4860::8888",
            "3ffe::1",
        ] {
            check(address, false);
        }
    }

    #[test]
    fn an_ipv6_address_with_an_ipv4_address_in_it_counts_by_that() {
        let forms = [
            // IPv4-compatible, IPv4-mapped, IPv4-translated, NAT64, ISATAP.
            ["::10.0.0.1", "::8.8.8.8"],
            ["::ffff:10.0.0.1", "::ffff:8.8.8.8"],
            ["::ffff:0:169.254.169.254", "::ffff:0:8.8.8.8"],
            ["64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8"],
            ["2606:4700::5efe:10.0.0.1", "2606:4700::5efe:8.8.8.8"],
            [
                "2606:4700::200:5efe:192.168.0.1",
                "2606:4700::200:5efe:8.8.8.8",
            ],
            // 6to4.
            ["2002:7f00:1::1", "2002:808:808::1"],
            ["2002:c0a8:101:5::1", "2002:808:808:5::1"],
            // Teredo: the server inside; the client inside (bits turned); neither.
            ["2001:0:a00:1:0:0:f7f7:f7f7", "2001:0:808:808:0:0:f7f7:f7f7"],
            ["2001:0:808:808:0:0:f5ff:fffe", "2001:0:808:808::f7f7:f7f7"],
            // The network's own NAT64: prefixes of 96, 64, 56 and 48 bits.
            ["64:ff9b:1::10.0.0.1", "64:ff9b:1::8.8.8.8"],
            ["64:ff9b:1:0:a:0:100:0", "64:ff9b:1:0:8:808:800:0"],
            ["64:ff9b:1:a:0:1::", "64:ff9b:1:8:8:808::"],
            ["64:ff9b:1:a00:0:100::", "64:ff9b:1:808:8:800::"],
            // Rubbish after the address does not hide it.
            ["64:ff9b:1:a00:0:100:808:808", "64:ff9b:1:abcd::8.8.8.8"],
        ];
        for [inside, outside] in forms {
            check(inside, true);
            check(outside, false);
        }
        check("64:ff9b:1::", true);
        check("64:ff9b:2::1", true);
    }
}
