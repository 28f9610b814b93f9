//! A path that is a route has one reading: what goes upstream for it is the same route again.

#![no_main]

use http::{Method, Uri};
use libfuzzer_sys::fuzz_target;
use tidegate::dialect::{Family, Route};

fuzz_target!(|target: &[u8]| {
    let Ok(uri) = Uri::try_from(target) else {
        return;
    };
    Family::of_path(uri.path());
    for method in [Method::GET, Method::POST] {
        let Ok(route) = Route::of(&method, &uri) else {
            continue;
        };
        let sent = route.upstream_path(None);
        let path = sent.split('?').next().unwrap();
        assert!(
            !path.contains(['%', '\\', ';']) && !path.contains("//") && !path.contains("/../"),
            "{sent}"
        );
        assert_eq!(Route::of(&method, &sent.parse().unwrap()).as_ref(), Ok(&route));
    }
});
