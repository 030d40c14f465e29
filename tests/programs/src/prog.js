// Node: timers, promises, buffers and the thread pool, checked at every step.
const fs = require('fs'), crypto = require('crypto');
const stop = process.argv[2], map = new Map();
const say = (s) => fs.writeSync(1, s + '\n');
const fail = (s) => { say('FAIL ' + s); process.exit(1); };
const hash = (n) => new Promise((ok, bad) => crypto.pbkdf2('x' + n, 's', 10, 16, 'sha256', (e, k) => (e ? bad(e) : ok(k.toString('hex')))));
let ticks = 0;
setInterval(() => ticks++, 3);
(async () => {
  say('ready');
  for (let n = 1; !fs.existsSync(stop); n++) {
    say('step ' + n);
    const before = ticks;
    const got = await Promise.all([0, 1, 2, 3, 4, 5].map((i) => hash(n + i)));
    got.forEach((h, i) => { if (h !== crypto.pbkdf2Sync('x' + (n + i), 's', 10, 16, 'sha256').toString('hex')) fail('hash'); });
    map.set(n, Buffer.alloc(1000, n & 255));
    let sum = 0;
    for (const [k, b] of map) { sum += k; if (b[999] !== (k & 255)) fail('buffer'); }
    if (sum !== (n * (n + 1)) / 2) fail('map');
    await new Promise((ok) => setTimeout(ok, 8));
    if (ticks === before) fail('interval');
  }
  say('PASS');
  process.exit(0);
})();
