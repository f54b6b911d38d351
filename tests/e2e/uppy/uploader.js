// A page that uploads with Uppy, as anybody's would: bundled once with each version, driven by test_uppy.py.

import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import GoldenRetriever from '@uppy/golden-retriever'

const MIB = 1024 * 1024

// What is kept for a reload is written at once: a test reloads sooner than a person.
GoldenRetriever[Symbol.for('uppy test: throttleTime')] = 0

// `sign`: the address and the key of `signRequest`'s callback, which cannot travel from the test as a function.
const signer = ({ url, key }) => async (request) => {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(request),
  })
  if (!answer.ok) throw new Error(`not signed: ${answer.status}`)
  return answer.json()
}

window.begin = ({ plugin, sign, keep, parts }) => {
  const told = { done: [], errors: [], parts: [], log: [], restored: false, progress: 0 }
  const note = (...words) => told.log.push(words.map(String).join(' '))
  const uppy = new Uppy({ id: 'films', logger: { debug: note, warn: note, error: note } })
  uppy.on('upload-success', (file, answer) => told.done.push({ name: file.name, key: answer.body?.key, url: answer.uploadURL }))
  uppy.on('upload-error', (file, error) => told.errors.push(error.message))
  uppy.on('s3-multipart:part-uploaded', (file, part) => told.parts.push(part.PartNumber))
  uppy.on('upload-progress', (file, progress) => { told.progress = progress.bytesUploaded })
  uppy.on('restored', () => { told.restored = true })
  if (keep) uppy.use(GoldenRetriever, { indexedDB: { maxFileSize: 64 * MIB, maxTotalSize: 128 * MIB } })
  const inParts = parts ? { shouldUseMultipart: true, getChunkSize: () => 5 * MIB } : { shouldUseMultipart: false }
  uppy.use(AwsS3, { ...inParts, ...plugin, ...(sign ? { signRequest: signer(sign) } : {}) })
  window.uppy = uppy
  window.told = told
}

window.add = async (name, meta) => {
  const data = await (await fetch('film')).blob()
  window.uppy.addFile({ name, type: 'video/x-matroska', data, meta })
}

// The upload goes on while the test looks; what became of it stands in `told`.
window.upload = () => { window.uppy.upload().catch((error) => window.told.errors.push(error.message)) }

// The session's cookie, as the page of the same origin gets it.
window.logIn = async (key) => {
  const answer = await fetch('/auth/session', { method: 'POST', headers: { authorization: `Bearer ${key}` } })
  if (!answer.ok) throw new Error(`no session: ${answer.status}`)
}
