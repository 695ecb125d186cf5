// SPDX-License-Identifier: LGPL-2.1-or-later
// What the scenarios share. $DOCKER_HOST says whose socket; nothing else in them knows which engine answers.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import Docker from 'dockerode';
import tar from 'tar-stream';

export const IMAGE = 'busybox:latest';
export const docker = new Docker();

export async function text(stream) {
    const pieces = [];
    for await (const piece of stream) {
        pieces.push(Buffer.from(piece));
    }
    return Buffer.concat(pieces).toString();
}

// Both halves of a multiplexed stream, read to its end.
export async function halves(stream) {
    const out = new PassThrough();
    const err = new PassThrough();
    docker.modem.demuxStream(stream, out, err);
    stream.on('end', () => { out.end(); err.end(); });
    return Promise.all([text(out), text(err)]);
}

// An archive with FILES, which are names and contents.
export function archive(files) {
    const pack = tar.pack();
    for (const [name, content] of Object.entries(files)) {
        pack.entry({ name }, content);
    }
    pack.finalize();
    return pack;
}

export async function unpack(stream) {
    const files = {};
    const extract = tar.extract();
    extract.on('entry', (header, content, next) => {
        text(content).then((whole) => { files[header.name] = whole; next(); }, next);
    });
    await pipeline(stream, extract);
    return files;
}

// The condition gives something true, or what it gave last is told.
export async function until(what, condition, seconds = 60) {
    const end = Date.now() + seconds * 1000;
    let last;
    while (!(last = await condition())) {
        assert.ok(Date.now() < end, `after ${seconds} s: not ${what}`);
        await new Promise((done) => { setTimeout(done, 100); });
    }
    return last;
}
