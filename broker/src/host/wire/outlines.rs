//! The outlines of the requests that are served, at all versions of the schema crate. A structure's
//! tagged fields stand behind its others.

use super::guard::Kind::{Array, Bytes, Fixed, Packed, Tagged, Text, Texts};
use super::guard::{Outline, always, between, since};

pub const PRODUCE: Outline = &[
    since(3, Text),
    always(Fixed(2 + 4)),
    always(Array(&[
        between(0, 12, Text),
        since(13, Fixed(16)),
        always(Array(&[always(Fixed(4)), always(Bytes)])),
    ])),
];

pub const FETCH: Outline = &[
    between(0, 14, Fixed(4)),
    always(Fixed(4 + 4)),
    since(3, Fixed(4)),
    since(4, Fixed(1)),
    since(7, Fixed(4 + 4)),
    always(Array(&[
        between(0, 12, Text),
        since(13, Fixed(16)),
        always(Array(&[
            always(Fixed(4)),
            since(9, Fixed(4)),
            always(Fixed(8)),
            since(12, Fixed(4)),
            since(5, Fixed(8)),
            always(Fixed(4)),
            since(17, Tagged(0, &[always(Fixed(16))])),
            since(18, Tagged(1, &[always(Fixed(8))])),
        ])),
    ])),
    since(
        7,
        Array(&[
            between(7, 12, Text),
            since(13, Fixed(16)),
            always(Packed(4)),
        ]),
    ),
    since(11, Text),
    since(12, Tagged(0, &[always(Text)])),
    since(15, Tagged(1, &[always(Fixed(4)), always(Fixed(8))])),
];

pub const LIST_OFFSETS: Outline = &[
    always(Fixed(4)),
    since(2, Fixed(1)),
    always(Array(&[
        always(Text),
        always(Array(&[
            always(Fixed(4)),
            since(4, Fixed(4)),
            always(Fixed(8)),
        ])),
    ])),
    since(10, Fixed(4)),
];

pub const METADATA: Outline = &[
    always(Array(&[since(10, Fixed(16)), always(Text)])),
    since(4, Fixed(1)),
    between(8, 10, Fixed(1)),
    since(8, Fixed(1)),
];

pub const OFFSET_COMMIT: Outline = &[
    always(Text),
    since(1, Fixed(4)),
    since(1, Text),
    since(7, Text),
    between(2, 4, Fixed(8)),
    always(Array(&[
        always(Text),
        always(Array(&[
            always(Fixed(4 + 8)),
            since(6, Fixed(4)),
            always(Text),
        ])),
    ])),
];

pub const OFFSET_FETCH: Outline = &[
    between(0, 7, Text),
    between(0, 7, Array(&[always(Text), always(Packed(4))])),
    since(
        8,
        Array(&[
            always(Text),
            since(9, Text),
            since(9, Fixed(4)),
            always(Array(&[always(Text), always(Packed(4))])),
        ]),
    ),
    since(7, Fixed(1)),
];

pub const FIND_COORDINATOR: Outline = &[between(0, 3, Text), since(1, Fixed(1)), since(4, Texts)];

pub const API_VERSIONS: Outline = &[since(3, Text), since(3, Text)];

pub const CREATE_TOPICS: Outline = &[
    always(Array(&[
        always(Text),
        always(Fixed(4 + 2)),
        always(Array(&[always(Fixed(4)), always(Packed(4))])),
        always(Array(&[always(Text), always(Text)])),
    ])),
    always(Fixed(4)),
    since(1, Fixed(1)),
];

pub const DELETE_TOPICS: Outline = &[
    since(6, Array(&[always(Text), always(Fixed(16))])),
    between(0, 5, Texts),
    always(Fixed(4)),
];

pub const DELETE_RECORDS: Outline = &[
    always(Array(&[
        always(Text),
        always(Array(&[always(Fixed(4 + 8))])),
    ])),
    always(Fixed(4)),
];

pub const INIT_PRODUCER_ID: Outline = &[always(Text), always(Fixed(4)), since(3, Fixed(8 + 2))];

pub const OFFSET_FOR_LEADER_EPOCH: Outline = &[
    since(3, Fixed(4)),
    always(Array(&[
        always(Text),
        always(Array(&[
            always(Fixed(4)),
            since(2, Fixed(4)),
            always(Fixed(4)),
        ])),
    ])),
];

pub const DESCRIBE_CONFIGS: Outline = &[
    always(Array(&[always(Fixed(1)), always(Text), always(Texts)])),
    since(1, Fixed(1)),
    since(3, Fixed(1)),
];

pub const DESCRIBE_CLUSTER: Outline = &[always(Fixed(1)), since(1, Fixed(1)), since(2, Fixed(1))];
